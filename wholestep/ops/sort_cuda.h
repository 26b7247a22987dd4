#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {
std::unique_ptr<PreparedKernel> prepare_argsort_cuda(const KernelRequest& q);
}  // namespace wholestep
