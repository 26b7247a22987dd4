// The CUDA kernels of products that are not stored.
#include <fmt/format.h>

#include <algorithm>

#include "wholestep/backend/cuda/elements.h"
#include "wholestep/ops/elementwise_cuda.h"
#include "wholestep/ops/matmul_cuda.h"
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

ElementwiseText program_text(const KernelRequest& request) {
  return {elementwise_program(request), program_operands(request.inputs, request.attrs),
          program_results(request)};
}
std::string dx_parameter(const KernelRequest& request) {
  return InputGradient::asked(request.attrs)
             ? fmt::format(", {}* dx", cuda_name(request.outputs.back().dtype))
             : "";
}
uint64_t bit(size_t operand) { return uint64_t{1} << operand; }

using Prepare = std::unique_ptr<PreparedKernel> (*)(const KernelRequest&);

/// The phases of dx = a W, made by a kernel of matmul, in front of those that write over W.
void add_input_gradient(CudaCall& call, const KernelRequest& request, const ElementwiseText& text,
                        Prepare prepare) {
  const InputGradient gradient(request);
  const auto made = prepare(gradient.product());
  const auto& product = dynamic_cast<const CudaCall&>(*made);
  call.headers.insert(call.headers.end(), product.headers.begin(), product.headers.end());
  call.definitions.insert(call.definitions.end(), product.definitions.begin(), product.definitions.end());
  call.workspace_bytes = product.workspace_bytes;
  const size_t operands[] = {0, gradient.weight, 1};
  const uint64_t dx = bit(request.outputs.size() - 1);
  for (CudaPhase& phase : call.phases) phase.writes = dx - 1, phase.workspace_bytes = 0;
  std::vector<CudaPhase> phases;
  for (const CudaPhase& phase : product.phases) {
    const std::string run = fmt::format(
        "(Lane lane, const {0}* a, const {0}* b{1} workspace) {{\n"
        "  {2}(lane, a, p{3}, {4}dx, workspace);\n}}\n",
        cuda_name(request.inputs[0].dtype), text.parameters(dx_parameter(request)), phase.run,
        gradient.weight - 1, gradient.masked ? "b, " : "");
    uint64_t reads = 0;
    for (size_t i = 0; i < product.inputs.size(); ++i)
      if (has_operand(phase.reads, i)) reads |= bit(operands[i]);
    phases.push_back({.chunks = phase.chunks,
                      .reads = reads,
                      .writes = phase.writes == 0 ? 0 : dx,
                      .in_memory = phase.in_memory,
                      .run = cuda_define(call, "input_gradient", run),
                      .shared_bytes = phase.shared_bytes});
  }
  call.phases.insert(call.phases.begin(), phases.begin(), phases.end());
}

/// The program's operands first, then the product while they are on their way; in front of them dx, if asked
/// for.
std::unique_ptr<PreparedKernel> fused_call(const KernelRequest& request, bool on_tensor_cores) {
  TiledProduct product(request, on_tensor_cores);
  const MatmulDims& d = product.d;
  ElementwiseText text = program_text(request);
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
      type, text.parameters(dx_parameter(request)), text.constants(), product.type,
      text.rounds(kTileElements / step, index,
                  fmt::format("    const {}* tile = product.run(a, b, lane.shared);\n", type)));
  call->phases.push_back({.chunks = product.tiles,
                          .run = cuda_define(*call, "matmul_fused", body),
                          .shared_bytes = product.bytes});
  if (InputGradient::asked(request.attrs))
    add_input_gradient(*call, request, text,
                       on_tensor_cores ? prepare_matmul_tensor_cuda : prepare_matmul_tiles_cuda);
  return call;
}

/// Whole columns of the product, by the type of matmul_fused.cuh that makes dx beside it.
struct ProductColumns {
  explicit ProductColumns(const KernelRequest& request)
      : d(product_dims(request)), operands(program_operands(request.inputs, request.attrs)) {
    const size_t weight = InputGradient(request).weight - 1;
    matrices = {weight};
    for (size_t k = 1; k < operands.size(); ++k)
      if (k != weight && operands[k].shape.numel() > 1) matrices.push_back(k);
    const int64_t count = static_cast<int64_t>(matrices.size()), rows = cuda_group(ceil_div(d.k, 16)) * 16;
    bytes =
        size_bytes(DType::f32) * (rows * (d.m + 8) + rounded_up(d.k, 8) * (kTileColumns + 8) +
                                  kTileRows * (kTileColumns + 4) + count * kTileRows * (kTileColumns + 8));
    type = device_function("ProductColumns", kTileRows, kTileColumns, d.m, d.n, d.k, count);
  }
  std::string refusal() const {
    if (d.m * d.n * d.k == 0) return "there is nothing to do";
    if (d.k > kMostTerms) return fmt::format("a sum of {} has more than {} terms", d.k, kMostTerms);
    if (d.m % kTileRows != 0 || d.n % kTileColumns != 0)
      return fmt::format("{} rows and {} columns are not whole tiles", d.m, d.n);
    if (d.m * d.n >= int64_t{1} << 31) return "offsets in the product do not fit 32 bits";
    if (!std::ranges::all_of(matrices, [&](size_t k) { return operands[k] == operands[0]; }))
      return "an operand lies otherwise than the product";
    return bytes <= cuda_lane_bytes() / 2 ? "" : "two blocks do not fit a multiprocessor";
  }
  static constexpr int64_t kMostTerms = 32;  ///< a thread's sums of dx stay in registers beside the program

  MatmulDims d;
  Types operands;
  std::vector<size_t> matrices;  ///< operands of the program as large as the product, W first
  int64_t bytes;
  std::string type;
};

/// A block takes columns from the first row to the last: of the product, of the program's operands, and of
/// dx.
std::unique_ptr<PreparedKernel> columns_call(const KernelRequest& request, const ProductColumns& columns) {
  const MatmulDims& d = columns.d;
  ElementwiseText text = program_text(request);
  text.staged.resize(columns.operands.size());
  text.staged[0] = "columns.product + m * Columns::SP + n";
  std::string matrices;
  for (size_t i = 0; i < columns.matrices.size(); ++i) {
    text.staged[columns.matrices[i]] =
        fmt::format("columns.matrices + {} * Columns::tile_words + m * Columns::S + n", i);
    matrices += fmt::format(", p{}", columns.matrices[i]);
  }
  const int64_t step = kCudaThreads * text.vector;
  const std::string index = fmt::format(
      "      const index at = u * {} + threadIdx.x * {}, m = at / {}, n = at % {};\n"
      "      [[maybe_unused]] const index i = (tile * {} + m) * {} + columns.n0 + n;\n",
      step, text.vector, kTileColumns, kTileColumns, kTileRows, d.n);
  const std::string next = fmt::format(
      "    __syncthreads();\n    if (tile + 1 < Columns::kTiles) columns.bring(tile + 1{});\n", matrices);

  auto call = cuda_call(request, "elementwise.cuh");
  call->headers.push_back("matmul_fused.cuh");
  const std::string body = fmt::format(
      "(Lane lane, const float* a, const float* b{0}) {{\n{1}  using Columns = {2};\n"
      "  Columns columns(lane);\n  columns.bring(0{3});\n  columns.place(a, b);\n"
      "#pragma unroll 1\n  for (int tile = 0; tile < Columns::kTiles; ++tile) {{\n    columns.run(tile);\n"
      "{4}  }}\n  columns.store<{5}>(dx);\n}}\n",
      text.parameters(dx_parameter(request)), text.constants(), columns.type, matrices,
      text.rounds(kTileElements / step, index, next), InputGradient(request).masked);
  call->phases.push_back({.chunks = d.n / kTileColumns,
                          .in_memory = true,
                          .run = cuda_define(*call, "matmul_fused", body),
                          .shared_bytes = columns.bytes,
                          .together = 2});
  return call;
}

}  // namespace

std::string refuse_product_tensor_cuda(const KernelRequest& request) {
  if (request.inputs[0].dtype != DType::f32) return "takes f32 only";
  return tf32_allowed() ? "" : "TF32 is switched off";
}
std::string refuse_matmul_fused_columns_cuda(const KernelRequest& request) {
  if (!InputGradient::asked(request.attrs)) return "no gradient by the layer's input is asked for";
  if (std::string refusal = refuse_product_tensor_cuda(request); !refusal.empty()) return refusal;
  return ProductColumns(request).refusal();
}
std::unique_ptr<PreparedKernel> prepare_matmul_fused_columns_cuda(const KernelRequest& request) {
  return columns_call(request, ProductColumns(request));
}
std::unique_ptr<PreparedKernel> prepare_matmul_fused_tensor_cuda(const KernelRequest& request) {
  return fused_call(request, true);
}
std::unique_ptr<PreparedKernel> prepare_matmul_fused_tiles_cuda(const KernelRequest& request) {
  return fused_call(request, false);
}

}  // namespace wholestep
