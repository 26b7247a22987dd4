// Direct 2-D convolutions on raw f32 pointers, NCHW, sample by sample so that callers can spread samples over
// threads.
#pragma once
#include <cstdint>

namespace wholestep {

/// One spatial axis: output o reads input o * stride - padding + t * dilation for tap t; what lies outside is
/// zero. `padding` is the one before the first element; `out` decides how much follows the last.
struct ConvAxis {
  int64_t in = 1, out = 1, kernel = 1, stride = 1, padding = 0, dilation = 1;
};

/// How many outputs fit if `padding` is on both sides; zero or less where the kernel does not fit.
int64_t conv_outputs(const ConvAxis& axis);

/// x [N, Ci, H, W], weight [Co, Ci / groups, Kh, Kw], y [N, Co, Ho, Wo].
struct Conv2d {
  int64_t in_channels = 1, out_channels = 1, groups = 1;
  ConvAxis y, x;
};

/// Samples [begin, end) of the batch; pointers stay those of the whole tensors.
struct SampleRange {
  int64_t begin, end;
};

/// x is `pixels` * scale + shift, rounded twice, where there are any; else it is numbers.
struct ConvPixels {
  const uint8_t* pixels = nullptr;
  float scale = 1, shift = 0;
};

/// y = relu(conv(x, weight) + bias), with relu(t) = t < 0 ? 0 : t.
struct ConvForward {
  const float* x;
  const float* weight;
  const float* bias;  ///< [Co], or null
  float* y;
  bool relu;
  ConvPixels pixels = {};  ///< in the place of x
};

/// dx of conv(x, weight) for dy; overwrites dx.
struct ConvInputGradient {
  const float* dy;
  const float* weight;
  float* dx;
  const float* mask = nullptr;  ///< as dx, which becomes 0 where it is not above 0; or null
};

/// dweight and dbias summed over the samples of one call. Callers give every chunk of samples a buffer of its
/// own and add the buffers with `sum_chunks`. An infinity or NaN in x may reach elements of dweight it does
/// not belong to.
struct ConvWeightGradient {
  const float* x;
  const float* dy;
  float* dweight;          ///< overwritten
  float* dbias;            ///< [Co], overwritten; or null
  ConvPixels pixels = {};  ///< in the place of x
};

/// Scratch of one call on any instruction set and any range of samples, to be aligned to 64 bytes; contents
/// do not matter. Calls that run at the same time need one each.
int64_t conv_forward_workspace_bytes(const Conv2d& conv);
int64_t conv_input_gradient_workspace_bytes(const Conv2d& conv);
int64_t conv_weight_gradient_workspace_bytes(const Conv2d& conv);

}  // namespace wholestep
