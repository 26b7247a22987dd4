// The CUDA kernels of softmax and cross-entropy.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_softmax_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_log_softmax_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_cross_entropy_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_cross_entropy_dx_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_cross_entropy_with_dx_cuda(const KernelRequest& request);

}  // namespace wholestep
