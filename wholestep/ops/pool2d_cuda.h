// The CUDA kernels of the pooling ops.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_max_pool2d_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_max_pool2d_dx_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_avg_pool2d_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_avg_pool2d_dx_cuda(const KernelRequest& request);

}  // namespace wholestep
