// The CUDA kernel of random_uniform.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_uniform_cuda(const KernelRequest& request);

}  // namespace wholestep
