// 2-D convolution (cross-correlation, as deep learning means it) and its two gradients, each an op.
#pragma once
#include <array>

#include "wholestep/graph/op.h"

namespace wholestep {

/// Pairs are (vertical, horizontal).
struct Conv2dOptions {
  std::array<int64_t, 2> stride = {1, 1};
  std::array<int64_t, 2> padding = {0, 0};  ///< zeros on both sides
  std::array<int64_t, 2> dilation = {1, 1};
  int64_t groups = 1;
};

/// x [N, Ci, H, W], weight [Co, Ci / groups, Kh, Kw], bias [Co] where defined -> [N, Co, Ho, Wo] with
/// Ho = floor((H + 2 padding - dilation (Kh - 1) - 1) / stride) + 1; one floating-point dtype.
/// y[n, o, i, j] = bias[o] + sum over c, a, b of weight[o, c, a, b] x[n, c', i stride - padding + a dilation,
/// ...] where c' counts within o's group. The bias is added once, to the finished sum. kUsage where operands
/// do not fit.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {});

}  // namespace wholestep
