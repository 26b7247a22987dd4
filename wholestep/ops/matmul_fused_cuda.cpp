// The CUDA kernels of products that are not stored.
#include <fmt/format.h>

#include "wholestep/backend/cuda/elements.h"
#include "wholestep/ops/elementwise_cuda.h"
#include "wholestep/ops/matmul_fused.h"

namespace wholestep {
namespace {

/// A thread has eight elements of a tile, and a warp's loads are of one row.
constexpr int64_t kTileRows = 32, kTileColumns = 128, kTileElements = kTileRows * kTileColumns;
/// Blocks of a sum of squares: two for each multiprocessor of a large GPU.
constexpr int64_t kSquaresBlocks = 264;

/// Shared memory for all terms of panels of these widths together, and `more` elements.
int64_t shared_bytes(const KernelRequest& request, int64_t widths, int64_t more) {
  int64_t terms = rounded_up(product_dims(request).k, 8);
  return std::max<int64_t>(256, (terms * widths + more) * size_bytes(request.inputs[0].dtype));
}

/// A product as tiles in shared memory, by the type of matmul_fused.cuh.
struct TiledProduct {
  TiledProduct(const KernelRequest& request, bool on_tensor_cores)
      : d(product_dims(request)),
        tiles(ceil_div(d.m, kTileRows) * ceil_div(d.n, kTileColumns)),
        bytes(shared_bytes(request, kTileRows + kTileColumns + 16, kTileElements + 4 * kTileRows)),
        type(device_function(
            "ProductTile",
            on_tensor_cores ? "OnTensorCores" : device_function("Exactly", request.inputs[0].dtype),
            kTileRows, kTileColumns, d.m, d.n, d.k, d.transpose_a, d.transpose_b)) {}
  MatmulDims d;
  int64_t tiles, bytes;
  std::string type;
};

/// The program's operands first, then the product while they are on their way.
std::unique_ptr<PreparedKernel> fused_call(const KernelRequest& request, bool on_tensor_cores) {
  TiledProduct product(request, on_tensor_cores);
  const MatmulDims& d = product.d;
  ElementwiseText text(elementwise_program(request), program_operands(request.inputs, request.attrs),
                       request.outputs);
  if (d.n % ElementwiseText::kVector != 0 || !text.vectorises()) text.vector = 1;
  text.first = "tile + m * Product::S + n";
  const std::string type(cuda_name(request.inputs[0].dtype));
  const int64_t step = kCudaThreads * text.vector;
  const std::string index = fmt::format(
      "      const int at = u * {} + threadIdx.x * {}, m = at / {}, n = at % {};\n"
      "      if (!product.holds(m, n)) continue;\n"
      "      const index i = index(product.m0 + m) * {} + index(product.n0 + n);\n",
      step, text.vector, kTileColumns, kTileColumns, d.n);

  auto call = cuda_call(request, "elementwise.cuh");
  call->headers.push_back("matmul_fused.cuh");
  std::string body = fmt::format(
      "(Lane lane, const {0}* a, const {0}* b{1}) {{\n{2}  using Product = {3};\n"
      "  const Product product(lane.chunk);\n{4}}}\n",
      type, text.parameters(), text.constants(), product.type,
      text.rounds(kTileElements / step, index,
                  fmt::format("    const {}* tile = product.run(a, b, lane.shared);\n", type)));
  call->phases.push_back({.chunks = product.tiles,
                          .run = cuda_define(*call, "matmul_fused", body),
                          .shared_bytes = product.bytes});
  return call;
}

/// `blocks` sums, joined.
std::unique_ptr<PreparedKernel> squares_call(const KernelRequest& request, int64_t blocks, std::string run,
                                             int64_t bytes) {
  auto call = cuda_call(request, "matmul_fused.cuh");
  call->workspace_bytes = blocks * int64_t{sizeof(double)};
  call->phases.push_back({.chunks = blocks, .run = std::move(run), .shared_bytes = bytes});
  call->phases.push_back(
      {.chunks = 1, .reads = 0, .run = device_function("matmul_squares_join", blocks), .shared_bytes = 256});
  return call;
}

}  // namespace

std::string refuse_product_tensor_cuda(const KernelRequest& request) {
  if (request.inputs[0].dtype != DType::f32) return "takes f32 only";
  return tf32_allowed() ? "" : "TF32 is switched off";
}
std::unique_ptr<PreparedKernel> prepare_matmul_fused_tensor_cuda(const KernelRequest& request) {
  return fused_call(request, true);
}
std::unique_ptr<PreparedKernel> prepare_matmul_fused_tiles_cuda(const KernelRequest& request) {
  return fused_call(request, false);
}
std::unique_ptr<PreparedKernel> prepare_matmul_squares_tensor_cuda(const KernelRequest& request) {
  constexpr int64_t kSide = 128, kWarps = kCudaThreads / 32;
  MatmulDims d = product_dims(request);
  const int64_t down = ceil_div(d.m, kSide), across = ceil_div(d.n, 16 * kWarps),
                steps = std::max<int64_t>(1, ceil_div(down * across, kSquaresBlocks));
  return squares_call(
      request, down * ceil_div(across, steps),
      device_function("matmul_squares_tensor", kSide, steps, d.m, d.n, d.k, d.transpose_a, d.transpose_b),
      shared_bytes(request, kSide + 8 + kWarps * 24, 0));
}
std::unique_ptr<PreparedKernel> prepare_matmul_squares_tiles_cuda(const KernelRequest& request) {
  TiledProduct product(request, false);
  return squares_call(request, product.tiles, device_function("matmul_squares", product.type), product.bytes);
}

}  // namespace wholestep
