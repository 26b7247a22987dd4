// The CPU kernels of softmax and cross-entropy.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_softmax(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_log_softmax(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_cross_entropy(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_cross_entropy_dx(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_cross_entropy_with_dx(const KernelRequest& request);

}  // namespace wholestep
