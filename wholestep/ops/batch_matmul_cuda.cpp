// A block has a tile of one product. The sums of few products are shared out over blocks and joined, as those
// of one are.
#include "wholestep/ops/batch_matmul_cuda.h"

#include <algorithm>

#include "wholestep/ops/matmul_cuda.h"

namespace wholestep {
namespace {

std::unique_ptr<PreparedKernel> tiled_call(const KernelRequest& request, int64_t blocks, int64_t splits,
                                           std::string run, int64_t shared_bytes) {
  auto call = cuda_call(request, "batch_matmul.cuh");
  call->phases.push_back(
      {.chunks = blocks, .in_memory = true, .run = std::move(run), .shared_bytes = shared_bytes});
  if (splits > 1) add_split_join(*call, request, splits, false, false);
  return call;
}

}  // namespace

std::string refuse_batch_matmul_library_cuda(const KernelRequest& request) {
  auto [batch, d] = batch_matmul_dims(request);
  return refuse_library_product(request.inputs[0].dtype, batch, d.m, d.n, d.k);
}

std::unique_ptr<PreparedKernel> prepare_batch_matmul_library_cuda(const KernelRequest& request) {
  auto [batch, d] = batch_matmul_dims(request);
  return library_product(request, batch, d);
}

std::string refuse_batch_matmul_tensor_cuda(const KernelRequest& request) {
  if (request.inputs[0].dtype != DType::f32) return "takes f32 only";
  if (!tf32_allowed()) return "TF32 is switched off";
  auto [batch, d] = batch_matmul_dims(request);
  if (batch * d.m * d.n * d.k < int64_t{1} << 20) return "too small for tensor cores to matter";
  return "";
}

std::unique_ptr<PreparedKernel> prepare_batch_matmul_tensor_cuda(const KernelRequest& request) {
  auto [batch, d] = batch_matmul_dims(request);
  TensorShape shape = tensor_shape(d.m, d.n, d.k);  // of which the products share the blocks
  int64_t splits = whole_splits(d.k, std::max<int64_t>(1, shape.splits / batch)),
          blocks = shape.tiles * splits;
  return tiled_call(request, batch * blocks, splits,
                    device_function("batch_matmul_tensor", shape.tile.text(), batch, blocks, d.m, d.n, d.k,
                                    d.transpose_a, d.transpose_b, splits),
                    shape.tile.shared_bytes());
}

std::unique_ptr<PreparedKernel> prepare_batch_matmul_tiles_cuda(const KernelRequest& request) {
  auto [batch, d] = batch_matmul_dims(request);
  constexpr int64_t kSide = 32;
  int64_t tiles = ceil_div(d.m, kSide) * ceil_div(d.n, kSide), splits = tile_splits(batch * tiles, d.k),
          blocks = tiles * splits;
  return tiled_call(request, batch * blocks, splits,
                    device_function("batch_matmul_tiles", request.inputs[0].dtype, batch, blocks, d.m, d.n,
                                    d.k, d.transpose_a, d.transpose_b, kSide, kSide, kTileDepth, splits),
                    (2 * kSide + 2) * kTileDepth * size_bytes(request.inputs[0].dtype));
}

}  // namespace wholestep
