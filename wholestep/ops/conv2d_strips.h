// A convolution whose samples are shared out by rows, each strip of them made for itself, with what the next
// convolution reads beyond it: what compile/strips.cpp puts in the place of a chain of convolutions.
#pragma once
#include "wholestep/ops/conv2d_cpu.h"

namespace wholestep {

/// A request for op "conv2d_strips". Strip s of a sample has `rows` rows of its own, from s * rows on.
struct Conv2dStrips {
  /// Of a strip: the batch is the strips of all samples, conv.y.in the rows of its part of x, conv.y.out the
  /// rows that it makes.
  Conv2dProblem problem;
  int64_t samples, strips, rows;
  int64_t first;            ///< of the rows made, counted from the strip's own; 0 or less
  bool whole;               ///< x is samples, of which all strips read; or the strips of another one
  bool kept;                ///< there is a second result, the strips
  int64_t x_step, x_first;  ///< row h of strip s begins to read at row s x_step + x_first + h stride
};
Conv2dStrips conv2d_strips(const KernelRequest& request);

/// Plain loops, sums in f64.
std::unique_ptr<PreparedKernel> prepare_conv2d_strips_reference(const KernelRequest& request);

/// On tensor cores, in TF32: a block a strip.
std::string refuse_conv2d_strips_tensor_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_strips_tensor_cuda(const KernelRequest& request);
/// A thread a pixel, in f32 or f64.
std::unique_ptr<PreparedKernel> prepare_conv2d_strips_plain_cuda(const KernelRequest& request);

}  // namespace wholestep
