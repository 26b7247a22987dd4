// The CUDA kernel of element-wise ops and fused regions.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

/// For op "fused" (its program in the attributes) and for every single element-wise op.
std::unique_ptr<PreparedKernel> prepare_elementwise_cuda(const KernelRequest& request);

}  // namespace wholestep
