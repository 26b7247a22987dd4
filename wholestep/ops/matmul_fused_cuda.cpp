// The CUDA kernels of products that are not stored.
#include <fmt/format.h>

#include "wholestep/backend/cuda/elements.h"
#include "wholestep/ops/elementwise_cuda.h"
#include "wholestep/ops/matmul_fused.h"

namespace wholestep {
namespace {

/// A thread has eight elements of a tile, and a warp's loads are of one row.
constexpr int64_t kTileRows = 32, kTileColumns = 128, kTileElements = kTileRows * kTileColumns;

/// A product as tiles in shared memory, by the type of matmul_fused.cuh.
struct TiledProduct {
  TiledProduct(const KernelRequest& request, bool on_tensor_cores)
      : d(product_dims(request)),
        tiles(ceil_div(d.m, kTileRows) * ceil_div(d.n, kTileColumns)),
        bytes(size_bytes(request.inputs[0].dtype) *
              (rounded_up(d.k, 8) * (kTileRows + kTileColumns + 16) + kTileElements + 4 * kTileRows)),
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

}  // namespace wholestep
