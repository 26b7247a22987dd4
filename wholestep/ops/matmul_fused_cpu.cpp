// A product is made a tile at a time in a buffer that stays in cache, and used from there.
#include <utility>

#include "wholestep/backend/cpu/bf16.h"
#include "wholestep/backend/cpu/call.h"
#include "wholestep/base/integers.h"
#include "wholestep/ops/elementwise_cpu.h"
#include "wholestep/ops/matmul_fused.h"

namespace wholestep {
namespace {

/// Half a megabyte of f32, which stays in the second-level cache; more rows where they are short, fewer and
/// then shorter ones where there are not tiles for all threads.
constexpr int64_t kTileRows = 32, kTileColumns = 4096, kLeastElements = 1024, kFewRows = 16,
                  kFewColumns = 512;

struct TileShape {
  int64_t rows, columns;
  explicit TileShape(const MatmulDims& d) {
    columns = std::min(d.n, kTileColumns);
    rows = std::max(kTileRows, kLeastElements / std::max<int64_t>(columns, 1));
    auto too_few = [&] { return ceil_div(d.m, rows) * ceil_div(d.n, columns) < Split::kMaxChunks; };
    if (columns > 0 && too_few() && rows * columns > kLeastElements) rows = kFewRows;
    while (columns > kFewColumns && too_few()) columns = rounded_up(ceil_div(columns, 2), kFewColumns);
    rows = std::min(d.m, rows);
  }
};

/// Elements [row, row + rows) x [column, column + columns) of a product, without gaps.
template <class T>
struct Tile {
  int64_t row, column, rows, columns;
  const T* values;
};

/// Tiles down the rows first: neighbours share the columns of b.
template <class T>
struct TiledProduct : TileShape {
  TiledProduct(const KernelRequest& request, const CpuKernels& of)
      : TileShape(product_dims(request)),
        kernels(of),
        d(product_dims(request)),
        down(rows > 0 ? ceil_div(d.m, rows) : 0),
        split(columns > 0 ? down * ceil_div(d.n, columns) : 0),
        gemm{.m = rows,
             .n = columns,
             .k = d.k,
             .transpose_a = d.transpose_a,
             .transpose_b = d.transpose_b,
             .lda = d.transpose_a ? d.m : d.k,
             .ldb = d.transpose_b ? d.k : d.n},
        shared(kernels.pack_shared != nullptr && down > 1 && !d.transpose_b && worth_sharing(gemm) &&
               columns == d.n),
        tile_bytes(aligned(gemm.m * gemm.n * int64_t{sizeof(T)})),
        chunk_bytes(tile_bytes + aligned(kernels.gemm_workspace_bytes(gemm))) {}

  /// A call without phases, but for the one that rounds what all tiles share; it takes `front` bytes of the
  /// workspace.
  std::unique_ptr<CpuCall> call(int64_t& front) const {
    auto call = std::make_unique<CpuCall>();
    front = shared ? pack_shared_first(*call, gemm, kernels) : 0;
    return call;
  }

  /// Calls use(tile) for the tiles of a chunk, whose memory begins at `workspace`.
  template <class Use>
  void run(const CpuArgs& args, std::byte* workspace, int64_t chunk, Use use) const {
    std::byte* scratch = workspace + chunk * chunk_bytes;
    T* values = reinterpret_cast<T*>(scratch);
    for (int64_t t = split[chunk].begin; t < split[chunk].end; ++t) {
      Tile<T> tile = {.row = t % down * rows,
                      .column = t / down * columns,
                      .rows = std::min(rows, d.m - t % down * rows),
                      .columns = std::min(columns, d.n - t / down * columns),
                      .values = values};
      Gemm product = gemm;
      product.m = tile.rows, product.n = product.ldc = tile.columns;
      const T* a = args.in<T>(0) + tile.row * (d.transpose_a ? 1 : gemm.lda);
      const T* b = args.in<T>(1) + tile.column * (d.transpose_b ? gemm.ldb : 1);
      if constexpr (std::is_same_v<T, float>)
        kernels.gemm(product, {a, b, nullptr, values, shared ? args.workspace : nullptr},
                     {0, product.m, 0, product.n}, scratch + tile_bytes);
      else gemm_f64(product, a, b, nullptr, values);
      use(tile);
    }
  }

  const CpuKernels& kernels;
  MatmulDims d;
  int64_t down;
  Split split;
  Gemm gemm;
  bool shared;  ///< b is rounded once for all tiles
  int64_t tile_bytes, chunk_bytes;
};

/// prepare(zero) for the type the product is made in.
template <class Prepare>
std::unique_ptr<PreparedKernel> for_product_type(const KernelRequest& request, Prepare prepare) {
  return request.inputs[0].dtype == DType::f32 ? prepare(float{}) : prepare(double{});
}

using Prepare = std::unique_ptr<PreparedKernel> (*)(const KernelRequest&);

/// The phases of dx = a W, made by a kernel of matmul, in front of those that write over W.
void add_input_gradient(CpuCall& call, const KernelRequest& request, Prepare prepare) {
  const InputGradient gradient(request);
  const auto made = prepare(gradient.product());
  const auto& product = dynamic_cast<const CpuCall&>(*made);
  const size_t weight = gradient.weight, dx = request.outputs.size() - 1;
  std::vector<CpuPhase> phases;
  for (const CpuPhase& phase : product.phases)
    phases.push_back({.chunks = phase.chunks,
                      .parts = phase.parts,
                      .run = [run = phase.run, weight, dx](const CpuArgs& args, int64_t chunk) {
                        const void* const inputs[] = {args.inputs[0], args.inputs[weight], args.inputs[1]};
                        void* const outputs[] = {args.outputs[dx]};
                        run({inputs, outputs, args.workspace}, chunk);
                      }});
  call.phases.insert(call.phases.begin(), phases.begin(), phases.end());
  call.workspace_bytes = std::max(call.workspace_bytes, product.workspace_bytes);
}

std::unique_ptr<PreparedKernel> fused_call(const KernelRequest& request, const CpuKernels& kernels,
                                           Prepare prepare_input_gradient) {
  return for_product_type(request, [&](auto zero) {
    using T = decltype(zero);
    TiledProduct<T> product(request, kernels);
    ElementwiseRun program =
        elementwise_run_cpu(elementwise_program(request), program_operands(request.inputs, request.attrs),
                            program_results(request));
    int64_t front;
    auto call = product.call(front);
    call->workspace_bytes = front + product.split.chunks() * product.chunk_bytes;
    call->phases.push_back({.chunks = product.split.chunks(),
                            .run = [product, program, front](const CpuArgs& args, int64_t chunk) {
                              product.run(args, args.workspace + front, chunk, [&](const Tile<T>& tile) {
                                ElementRuns runs = {.begin = tile.row * product.d.n + tile.column,
                                                    .length = tile.columns,
                                                    .count = tile.rows,
                                                    .stride = product.d.n};
                                if (tile.columns == product.d.n) runs.length *= std::exchange(runs.count, 1);
                                // Register r lies in operand r + 1, but for the product.
                                program({args.inputs + 1, args.outputs, nullptr}, runs, tile.values);
                              });
                            }});
    if (InputGradient::asked(request.attrs)) add_input_gradient(*call, request, prepare_input_gradient);
    return call;
  });
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_matmul_fused_cpu(const KernelRequest& request) {
  const bool single = request.inputs[0].dtype == DType::f32;
  return fused_call(request, cpu_kernels(), single ? prepare_matmul_gemm : prepare_matmul_reference);
}
std::unique_ptr<PreparedKernel> prepare_matmul_fused_bf16(const KernelRequest& request) {
  return fused_call(request, bf16_kernels(), prepare_matmul_bf16);
}

}  // namespace wholestep
