// A block has a tile of one product; sums are never shared out over blocks, as a batch has blocks enough.
#include "wholestep/ops/batch_matmul_cuda.h"

namespace wholestep {
namespace {

std::unique_ptr<PreparedKernel> tiled_call(const KernelRequest& request, int64_t blocks, std::string run,
                                           int64_t shared_bytes) {
  auto call = cuda_call(request, "batch_matmul.cuh");
  call->phases.push_back(
      {.chunks = blocks, .in_memory = true, .run = std::move(run), .shared_bytes = shared_bytes});
  return call;
}

}  // namespace

std::string refuse_batch_matmul_tensor_cuda(const KernelRequest& request) {
  if (request.inputs[0].dtype != DType::f32) return "takes f32 only";
  if (!tf32_allowed()) return "TF32 is switched off";
  auto [batch, d] = batch_matmul_dims(request);
  if (batch * d.m * d.n * d.k < int64_t{1} << 20) return "too small for tensor cores to matter";
  return "";
}

std::unique_ptr<PreparedKernel> prepare_batch_matmul_tensor_cuda(const KernelRequest& request) {
  auto [batch, d] = batch_matmul_dims(request);
  TensorTile tile = tensor_shape(d.m, d.n, d.k).tile;
  int64_t tiles = ceil_div(d.m, tile.m) * ceil_div(d.n, tile.n);
  return tiled_call(
      request, batch * tiles,
      device_function("batch_matmul_tensor", tile.text(), tiles, d.m, d.n, d.k, d.transpose_a, d.transpose_b),
      tile.shared_bytes());
}

std::unique_ptr<PreparedKernel> prepare_batch_matmul_tiles_cuda(const KernelRequest& request) {
  auto [batch, d] = batch_matmul_dims(request);
  constexpr int64_t kSide = 32, kDepth = 32;
  int64_t tiles = ceil_div(d.m, kSide) * ceil_div(d.n, kSide);
  return tiled_call(request, batch * tiles,
                    device_function("batch_matmul_tiles", request.inputs[0].dtype, tiles, d.m, d.n, d.k,
                                    d.transpose_a, d.transpose_b, kSide, kSide, kDepth),
                    (2 * kSide + 2) * kDepth * size_bytes(request.inputs[0].dtype));
}

}  // namespace wholestep
