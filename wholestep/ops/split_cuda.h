// The CUDA kernel of split.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_split_cuda(const KernelRequest& request);

}  // namespace wholestep
