// The CUDA kernels of gather_rows, scatter_add_rows and take.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_gather_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_scatter_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_take_cuda(const KernelRequest& request);

}  // namespace wholestep
