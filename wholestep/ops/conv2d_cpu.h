// What the CPU kernels of the convolution ops share: the request as numbers, and the lists of kernels.
#pragma once
#include <vector>

#include "wholestep/backend/backend.h"

namespace wholestep {

/// One spatial axis: output o reads input o * stride - padding + t * dilation for tap t.
struct Conv2dAxis {
  int64_t in, out, kernel, stride, padding, dilation;
};

/// x [batch, in_channels, y.in, x.in], weight [out_channels, in_channels / groups, y.kernel, x.kernel],
/// result or its gradient [batch, out_channels, y.out, x.out].
struct Conv2dProblem {
  int64_t batch, in_channels, out_channels, groups;
  Conv2dAxis y, x;
  bool bias, relu;
};
/// For ops "conv2d", "conv2d_dx" and "conv2d_dw" alike.
Conv2dProblem conv2d_problem(const KernelRequest& request);

std::unique_ptr<PreparedKernel> prepare_conv2d_reference(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dx_reference(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dw_reference(const KernelRequest& request);

}  // namespace wholestep
