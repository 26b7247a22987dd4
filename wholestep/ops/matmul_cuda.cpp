// Chooses the form of a product from its sizes.
#include "wholestep/ops/matmul_cuda.h"

#include <fmt/format.h>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/ops/matmul_cpu.h"

namespace wholestep {
namespace {

/// A block reads about 120 bytes of cached weight a nanosecond, so this much costs as much as two barriers.
constexpr int64_t kRowWeightBytes = 256 * 1024;
/// A longer sum is better shared out over blocks and joined.
constexpr int64_t kMostOfOneBlock = 1024;
/// Enough blocks to keep a GPU busy, and no more than its multiprocessors run at a time.
constexpr int64_t kManyBlocks = 128;
constexpr int64_t kCudaWarps = kCudaThreads / 32;
/// A thread has registers for its operands of so long a sum.
constexpr int64_t kOuterSum = 64;

}  // namespace

std::string refuse_library_product(DType dtype, int64_t batch, int64_t m, int64_t n, int64_t k) {
  if (dtype != DType::f32 && dtype != DType::f64) return "takes f32 and f64 only";
  if (batch == 0 || m == 0 || n == 0 || k == 0) return "there is nothing to do";
  if (auto decided = refused_by_library_use()) return *decided;
  if (m < kCudaProductSide || n < kCudaProductSide || 2 * batch * m * n * k < kCudaProductFlops)
    return fmt::format("{} rows, {} columns and a sum of {} are little work", m, n, k);
  return "";
}

std::string refuse_matmul_library_cuda(const KernelRequest& request) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  return refuse_library_product(request.inputs[0].dtype, 1, d.m, d.n, d.k);
}

std::unique_ptr<CudaCall> library_product(const KernelRequest& request, int64_t batch, const MatmulDims& d) {
  using In = LibraryPlace::In;
  auto call = cuda_call(request, "matmul.cuh");
  const CudaProduct product{.dtype = request.inputs[0].dtype,
                            .tf32 = tf32_allowed(),
                            .batch = batch,
                            .m = d.m,
                            .n = d.n,
                            .k = d.k,
                            .transpose_a = d.transpose_a,
                            .transpose_b = d.transpose_b,
                            .relu = d.relu,
                            .at = {.a = {In::kInput, 0},
                                   .b = {In::kInput, 1},
                                   .bias = {d.bias ? In::kInput : In::kNowhere, 2},
                                   .d = {In::kOutput, 0},
                                   .scratch = {In::kWorkspace, 0}}};
  call->phases.push_back(cuda_library_phase(product));
  call->workspace_bytes = product.scratch_bytes();
  return call;
}

std::unique_ptr<PreparedKernel> prepare_matmul_library_cuda(const KernelRequest& request) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  auto call = library_product(request, 1, d);
  if (d.masked) add_finish(*call, request.outputs[0], d.m, d.n, d.third(), false);
  return call;
}

void add_finish(CudaCall& call, const TensorType& result, int64_t channels, int64_t pixels, int64_t third,
                bool relu) {
  const int64_t elements = result.shape.numel();
  call.headers.push_back("matmul.cuh");
  call.phases.push_back(
      {.chunks = ceil_div(elements, 2 * largest_power(elements) * kCudaThreads),
       .reads = third != 0 ? 4u : 0u,
       .run = device_function("finish_product", result.dtype, elements, channels, pixels, third, relu)});
}

std::string refuse_matmul_rows_cuda(const KernelRequest& request) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  if (d.transpose_a) return "rows of the first operand do not lie together";
  if (d.m < 2 || d.m > kCudaRowChunks || d.k == 0 || d.n == 0)
    return fmt::format("{} rows of {}, {} columns", d.m, d.k, d.n);
  if (int64_t bytes = request.inputs[1].bytes(); bytes > kRowWeightBytes)
    return fmt::format("a weight of {} bytes is too much for every row to read", bytes);
  return "";
}

std::unique_ptr<PreparedKernel> prepare_matmul_rows_cuda(const KernelRequest& request) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  auto call = cuda_call(request, "matmul.cuh");
  int64_t elements = rounded_up(d.k, 4) + std::max(d.n, kCudaThreads * 4);
  call->phases.push_back(cuda_row_phase(d.m, d.row_inputs(), 1,
                                        device_function("matmul_rows", request.inputs[0].dtype, d.m, d.n, d.k,
                                                        d.transpose_b, d.third(), d.relu),
                                        elements * size_bytes(request.inputs[0].dtype)));
  return call;
}

std::string refuse_matmul_warps_cuda(const KernelRequest& request) {
  if (std::string refusal = refuse_matmul_tensor_cuda(request); !refusal.empty()) return refusal;
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  if (d.transpose_a) return "rows of the first operand do not lie together";
  if (d.k % 8 != 0) return fmt::format("a sum of {} is not made of slices of 8", d.k);
  if (d.m * d.n > kManyBlocks * 512) return "the result is large enough for tiles";
  if (d.k > kMostOfOneBlock) return fmt::format("a sum of {} is too long for one block", d.k);
  return "";
}

std::unique_ptr<PreparedKernel> prepare_matmul_warps_cuda(const KernelRequest& request) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  // The smallest tile that gives no more blocks than run at a time: latency is what such a product costs.
  int64_t x = 1, y = 1;
  auto blocks = [&] { return ceil_div(d.m, 16 * x) * ceil_div(d.n, 8 * y); };
  if (blocks() > kManyBlocks && d.m > 16) x = 2;
  while (blocks() > kManyBlocks && y < 4) y *= 2;
  auto call = cuda_call(request, "matmul.cuh");
  call->phases.push_back(
      {.chunks = blocks(),
       .in_memory = true,
       .run = device_function("matmul_warps", d.m, d.n, d.k, d.transpose_b, d.third(), d.relu, x, y),
       .shared_bytes = kCudaThreads / 32 * 128 * x * y * 4});
  return call;
}

void add_join(CudaCall& call, const TensorType& part, int64_t parts, uint64_t reads,
              const std::function<std::string(int64_t ways)>& run) {
  int64_t ways = 1;
  while (ways < 16 && ways < parts) ways *= 2;
  call.workspace_bytes = parts * part.bytes();
  for (CudaPhase& phase : call.phases) phase.writes = 0;
  call.phases.push_back({.chunks = ceil_div(part.shape.numel() * ways, kCudaThreads),
                         .reads = reads,
                         .run = run(ways),
                         .shared_bytes = kCudaThreads * size_bytes(part.dtype)});
}

void add_split_join(CudaCall& call, const KernelRequest& request, int64_t parts, int64_t third, bool relu) {
  const TensorType& result = request.outputs[0];
  int64_t rows = result.shape[0], columns = result.shape.numel() / std::max<int64_t>(rows, 1);
  call.headers.push_back("matmul.cuh");
  add_join(call, result, parts, third != 0 ? 4u : 0u, [&](int64_t ways) {
    return device_function("matmul_join", result.dtype, rows, columns, third, relu, parts, ways);
  });
}

namespace {

/// Where a block may join a whole row of the result, it does: a lane then goes on with its row.
void join_by_rows(CudaCall& call, const MatmulDims& d, DType dtype, int64_t parts) {
  const int64_t ways = kCudaThreads / std::max<int64_t>(d.n, 1);
  if (d.transpose_a || ways < 2 || ways > 16 || ways * d.n != kCudaThreads || d.m > kCudaRowChunks) return;
  const CudaPhase join = call.phases.back();
  call.phases.back() = cuda_row_phase(
      d.m, d.masked ? 4 : 0, 1,
      device_function("matmul_join", dtype, d.m, d.n, d.third(), d.relu, parts, ways), join.shared_bytes);
  call.phases.back().reads = join.reads;
}

/// The phases of a product in tiles, and the sum of its parts.
std::unique_ptr<CudaCall> tiled_call(const KernelRequest& request, const MatmulDims& d, int64_t blocks,
                                     int64_t splits, std::string run, int64_t shared_bytes) {
  auto call = cuda_call(request, "matmul.cuh");
  call->phases.push_back(
      {.chunks = blocks, .in_memory = true, .run = std::move(run), .shared_bytes = shared_bytes});
  if (splits > 1) {
    add_split_join(*call, request, splits, d.third(), d.relu);
    join_by_rows(*call, d, request.outputs[0].dtype, splits);
  }
  return call;
}

}  // namespace

std::string refuse_matmul_outer_cuda(const KernelRequest& request) {
  if (request.inputs[0].dtype != DType::f32) return "takes f32 only";
  if (!tf32_allowed()) return "TF32 is switched off";
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  if (!d.transpose_a || d.transpose_b || d.third() != 0 || d.relu) return "not the gradient of a weight";
  if (d.k == 0 || d.k > kOuterSum) return fmt::format("a sum of {} is not short", d.k);
  if (d.m % 2 != 0 || d.n % 2 != 0) return "rows do not begin at even elements";
  if (ceil_div(d.m, 16) * ceil_div(d.n, 16) > kManyBlocks * kCudaWarps)
    return "the result is large enough for tiles";
  return "";
}

std::unique_ptr<PreparedKernel> prepare_matmul_outer_cuda(const KernelRequest& request) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  int64_t tiles = ceil_div(d.m, 16) * ceil_div(d.n, 16), of_block = 2;
  while (ceil_div(tiles, of_block) > kManyBlocks) of_block *= 2;
  auto call = cuda_call(request, "matmul.cuh");
  call->phases.push_back({.chunks = ceil_div(tiles, of_block),
                          .in_memory = true,
                          .run = device_function("matmul_outer", d.m, d.n, d.k, of_block),
                          .shared_bytes = call->squares ? kCudaSumBytes : 0});
  give_squares(*call);
  return call;
}

std::string refuse_matmul_tensor_cuda(const KernelRequest& request) {
  if (request.inputs[0].dtype != DType::f32) return "takes f32 only";
  if (!tf32_allowed()) return "TF32 is switched off";
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  if (d.m * d.n * d.k < int64_t{1} << 20) return "too small for tensor cores to matter";
  return "";
}

std::unique_ptr<PreparedKernel> prepare_matmul_tensor_cuda(const KernelRequest& request) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  TensorShape shape = tensor_shape(d.m, d.n, d.k);
  const int64_t blocks = shape.tiles * shape.splits;
  auto call = tiled_call(request, d, blocks, shape.splits,
                         device_function("matmul_tensor", shape.tile.text(), d.m, d.n, d.k, d.transpose_a,
                                         d.transpose_b, d.third(), d.relu, shape.splits),
                         shape.tile.shared_bytes());
  call->operand_square_parts = blocks;
  if (call->operand_squares && shape.splits > 1)
    call->phases.front().writes = 2, call->phases.back().writes = 1;
  return call;
}

int64_t tile_splits(int64_t tiles, int64_t k) {
  int64_t splits = 1;
  if (tiles > 0 && tiles < kManyBlocks) splits = std::clamp<int64_t>(k / 256, 1, 2 * kManyBlocks / tiles);
  return whole_splits(k, splits);
}

int64_t whole_splits(int64_t k, int64_t splits) {
  return k > 0 ? ceil_div(k, rounded_up(ceil_div(k, splits), kTileDepth)) : splits;  // none without work
}

std::unique_ptr<PreparedKernel> prepare_matmul_tiles_cuda(const KernelRequest& request) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  DType dtype = request.inputs[0].dtype;
  int64_t side = 32;
  if (dtype == DType::f32)
    for (int64_t larger : {64, 128})
      if (ceil_div(d.m, larger) * ceil_div(d.n, larger) >= kManyBlocks) side = larger;
  int64_t tile_m = side, tile_n = side, tile_k = kTileDepth;
  int64_t tiles = ceil_div(d.m, tile_m) * ceil_div(d.n, tile_n), splits = tile_splits(tiles, d.k);
  return tiled_call(request, d, tiles * splits, splits,
                    device_function("matmul_tiles", dtype, d.m, d.n, d.k, d.transpose_a, d.transpose_b,
                                    d.third(), d.relu, tile_m, tile_n, tile_k, splits),
                    (tile_m + tile_n + 2) * tile_k * size_bytes(dtype));
}

}  // namespace wholestep
