// The CUDA kernels of batch_matmul.
#pragma once
#include <string>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/ops/matmul_cpu.h"

namespace wholestep {

/// A batch of products of one size.
struct BatchMatmulDims {
  int64_t batch;
  MatmulDims one;
};
BatchMatmulDims batch_matmul_dims(const KernelRequest& request);

/// Large products by CUDA's library.
std::string refuse_batch_matmul_library_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_batch_matmul_library_cuda(const KernelRequest& request);
/// Tiles of the results on tensor cores, in TF32.
std::string refuse_batch_matmul_tensor_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_batch_matmul_tensor_cuda(const KernelRequest& request);
/// Tiles of the results.
std::unique_ptr<PreparedKernel> prepare_batch_matmul_tiles_cuda(const KernelRequest& request);

}  // namespace wholestep
