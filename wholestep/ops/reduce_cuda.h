// The CUDA kernels of the reductions.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_sum_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_max_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_argmax_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_sum_squares_cuda(const KernelRequest& request);

}  // namespace wholestep
