// The CUDA kernels of the ops that move elements.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_reshape_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_permute_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_expand_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_slice_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_pad_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_concat_cuda(const KernelRequest& request);

}  // namespace wholestep
