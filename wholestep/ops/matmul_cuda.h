// The CUDA kernels of matmul.
#pragma once
#include <string>

#include "wholestep/backend/cuda/call.h"

namespace wholestep {

/// The phase that adds up, in order, `parts` partial results in the workspace, by matmul.cuh.
void add_split_join(CudaCall& call, const KernelRequest& request, int64_t parts, bool bias, bool relu);

/// A row of the result a block: for the rows of a batch over a weight that a block reads quickly.
std::string refuse_matmul_rows_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_rows_cuda(const KernelRequest& request);
/// Small results on tensor cores, in TF32, with the sum shared out over a block's warps.
std::string refuse_matmul_warps_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_warps_cuda(const KernelRequest& request);
/// The gradient of a small weight from few rows, on tensor cores, in TF32.
std::string refuse_matmul_outer_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_outer_cuda(const KernelRequest& request);
/// Tiles of the result on tensor cores, in TF32.
std::string refuse_matmul_tensor_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_tensor_cuda(const KernelRequest& request);
/// Tiles of the result, with a long sum shared out over blocks.
std::unique_ptr<PreparedKernel> prepare_matmul_tiles_cuda(const KernelRequest& request);

}  // namespace wholestep
