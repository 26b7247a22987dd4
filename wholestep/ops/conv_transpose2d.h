// 2-D transposed convolution: the gradient of a convolution's input as a function of its own.
#pragma once
#include "wholestep/ops/conv2d.h"

namespace wholestep {

/// x [N, Ci, H, W], weight [Ci, Co / groups, Kh, Kw], bias [Co] where defined -> [N, Co, Ho, Wo] with
/// Ho = (H - 1) stride - 2 padding + dilation (Kh - 1) + output_padding + 1. It spreads x[n, c, i, j]
/// weight[c] over the window that conv2d() with these options reads for element (i, j). kUsage where operands
/// do not fit, or output_padding is no smaller than stride and dilation both.
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const Conv2dOptions& options = {},
                        const std::array<int64_t, 2>& output_padding = {0, 0});

}  // namespace wholestep
