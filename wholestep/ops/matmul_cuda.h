// The CUDA kernels of matmul.
#pragma once
#include <functional>
#include <string>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/ops/matmul_cpu.h"

namespace wholestep {

/// Terms of a sum that a tile takes at a time.
constexpr int64_t kTileDepth = 32;
/// About so many parts of a sum of k that none is empty, each a multiple of kTileDepth but the last.
int64_t whole_splits(int64_t k, int64_t splits);
/// Parts of the sums of k of so many tiles that keep a GPU busy.
int64_t tile_splits(int64_t tiles, int64_t k);

/// The phase that adds up, in order, `parts` such parts of the workspace by join_parts() of matmul.cuh:
/// run(ways) is its device function.
void add_join(CudaCall& call, const TensorType& part, int64_t parts, uint64_t reads,
              const std::function<std::string(int64_t ways)>& run);
/// The phase that adds up, in order, `parts` partial results in the workspace, by matmul.cuh.
void add_split_join(CudaCall& call, const KernelRequest& request, int64_t parts, int64_t third, bool relu);

/// Large products by CUDA's library.
std::string refuse_matmul_library_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_library_cuda(const KernelRequest& request);
/// Why the library is not ahead for `batch` products of such sizes; "" where it is.
std::string refuse_library_product(DType dtype, int64_t batch, int64_t m, int64_t n, int64_t k);
/// The call that is `batch` products by the library of operands 0 and 1 of the request, with bias and ReLU as
/// `d` has them.
std::unique_ptr<CudaCall> library_product(const KernelRequest& request, int64_t batch, const MatmulDims& d);
/// The phase behind a product of the library that adds a bias of every channel, masks or clips the result
/// [..., channels, pixels]; `third` as third_operand().
void add_finish(CudaCall& call, const TensorType& result, int64_t channels, int64_t pixels, int64_t third,
                bool relu);
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
