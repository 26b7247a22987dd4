// The CUDA kernels of batch normalisation.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_batch_norm_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_batch_norm_dx_cuda(const KernelRequest& request);

}  // namespace wholestep
