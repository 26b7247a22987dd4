// 2-D pooling over [N, C, H, W]: maximum, average, and average over a grid of given size.
#pragma once
#include <array>

#include "wholestep/graph/op.h"

namespace wholestep {

/// Pairs are (vertical, horizontal). Results have floor((H + 2 padding - kernel) / stride) + 1 rows; padding
/// is at most half the kernel, so that every window meets the input.
struct Pool2dOptions {
  std::array<int64_t, 2> kernel = {1, 1};
  std::array<int64_t, 2> stride = {0, 0};  ///< 0: the kernel's
  std::array<int64_t, 2> padding = {0, 0};
};

struct MaxPool2dResult {
  Tensor y;       ///< [N, C, Ho, Wo]
  Tensor argmax;  ///< i32, where in its H * W plane each maximum is
};
/// The largest element of every window, padding aside; NaN where the window has one. Of equal elements the
/// first in row-major order is the maximum and alone receives the gradient. kUsage where operands do not fit.
MaxPool2dResult max_pool2d_with_argmax(const Tensor& x, const Pool2dOptions& options);
/// With ceil_mode the last window of an axis may end behind x and its padding, if it begins before that:
/// sizes are rounded up.
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options, bool ceil_mode = false);

/// The mean of every window: of its elements that are x or padding, which counts as zeros, or without
/// count_include_pad of those that are x.
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options, bool ceil_mode = false,
                  bool count_include_pad = true);

/// [N, C, size[0], size[1]]: row i is the mean of input rows floor(i H / size) to ceil((i + 1) H / size),
/// columns likewise. Sizes are at least 1 and may exceed the input's.
Tensor adaptive_avg_pool2d(const Tensor& x, const std::array<int64_t, 2>& size);

}  // namespace wholestep
