// What the CPU kernels of the pooling ops share: the windows of one axis as lists of ranges.
#pragma once
#include <vector>

#include "wholestep/backend/cpu/call.h"

namespace wholestep {

/// Windows of one spatial axis: output o covers inputs windows[o]; both ends of the ranges never decrease.
struct PoolAxis {
  int64_t in = 1, out = 1;
  std::vector<Range> windows;
};

/// planes = C channels of each of `batch` samples, in [batch, C, y.in, x.in] -> [batch, C, y.out, x.out].
struct PoolProblem {
  int64_t batch, channels;
  PoolAxis y, x;
  double divisor;  ///< of averages; 0: the number of elements of each window
};
/// For every pooling op, of the shapes and attributes of the request.
PoolProblem pool_problem(const KernelRequest& request);

std::unique_ptr<PreparedKernel> prepare_max_pool2d(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_max_pool2d_dx(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_avg_pool2d(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_avg_pool2d_dx(const KernelRequest& request);

}  // namespace wholestep
