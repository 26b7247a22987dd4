// The CPU kernels of matmul. Every element of the result is one sum over k in order, however the work is
// split, so it may be split by rows of a batch or, for a few rows over a large weight, by columns. Deep sums
// are the exception: they are split themselves, always in the same parts.
#include "wholestep/ops/matmul_cpu.h"

#include "wholestep/backend/cpu/bf16.h"
#include "wholestep/backend/cpu/call.h"
#include "wholestep/backend/cpu/precision.h"
#include "wholestep/base/integers.h"
#include "wholestep/ops/reduce_loops.h"
#include "wholestep/ops/square_blocks.h"

namespace wholestep {
namespace {

/// Gradients of weights with so many rows are split by rows, as the update and the next product read them.
constexpr int64_t kRowsOfWeights = 64;
/// Columns are split at multiples of this, a vector of f32 or a tile of bf16, where reading the other operand
/// once more for a part costs little: it has at most so many elements, or is there rounded.
constexpr int64_t kColumnUnit = 16, kCheapElements = 32768;
/// Elsewhere at multiples of a tile's width; of more in bf16, where rounding takes longer than to multiply.
constexpr int64_t kColumnUnitWide = 32, kColumnUnitBf16 = 64;
/// And from this depth on, if the result is no larger than that, the sums are split, so that no part reads
/// what another one does.
constexpr int64_t kDeep = 16384, kFewSums = 16384, kDepthUnit = 512;

}  // namespace

bool worth_sharing(const Gemm& gemm) {
  constexpr int64_t kFewestElements = 16384, kMostBytes = 1 << 20;
  return gemm.k * (bf16_shares_a(gemm) ? gemm.m : gemm.n) >= kFewestElements &&
         bf16_shared_bytes(gemm) <= kMostBytes;
}

int64_t pack_shared_first(CpuCall& call, const Gemm& gemm, const CpuKernels& kernels) {
  const int64_t columns = bf16_shares_a(gemm) ? gemm.m : gemm.n;
  Split tiles((columns + 15) / 16);
  call.phases.push_back({.chunks = tiles.chunks(),
                         .reads = uint64_t{bf16_shares_a(gemm) ? 1u : 2u},
                         .parts = true,
                         .run = [=, &kernels](const CpuArgs& args, int64_t chunk) {
                           kernels.pack_shared(gemm, {args.in<float>(0), args.in<float>(1), nullptr, nullptr},
                                               tiles[chunk].begin * 16,
                                               std::min(columns, tiles[chunk].end * 16), args.workspace);
                         }});
  return aligned(bf16_shared_bytes(gemm));
}

std::string refuse_matmul_gemm(const KernelRequest& request) {
  return request.inputs[0].dtype == DType::f32 ? "" : "takes f32 only";
}

std::string refuse_bf16(const KernelRequest& request) {
  if (request.inputs[0].dtype != DType::f32) return "takes f32 only";
  return product_precision() == Precision::bf16 ? "" : "the precision of products is f32";
}

Gemm matmul_gemm(const MatmulDims& d) {
  return {.m = d.m,
          .n = d.n,
          .k = d.k,
          .transpose_a = d.transpose_a,
          .transpose_b = d.transpose_b,
          .lda = d.transpose_a ? d.m : d.k,
          .ldb = d.transpose_b ? d.k : d.n,
          .ldc = d.n,
          .relu = d.relu};
}

namespace {

/// Sums of squares of blocks of rows of a result, as sum_squares would make them.
void square_rows(const SquareBlocks& blocks, const float* result, Range rows, double* sums) {
  for (int64_t row = rows.begin; row < rows.end; row += blocks.block_rows)
    for (int64_t column = 0; column < blocks.columns; column += blocks.block_columns)
      sums[blocks.index(row, column)] =
          reduce_loops<float>().sum_squares(result + row * blocks.columns + column,
                                            std::min(blocks.block_rows, rows.end - row) *
                                                std::min(blocks.block_columns, blocks.columns - column));
}

/// Each element is one sum over k in order.
std::unique_ptr<PreparedKernel> gemm_call(const KernelRequest& request, const CpuKernels& kernels) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  Gemm gemm = matmul_gemm(d);
  // Each part reads all of the operand it does not split, so the smaller one is left whole (measured in
  // docs/performance.md).
  bool by_rows = d.m >= d.n || (d.transpose_a && d.m >= kRowsOfWeights);
  int64_t scratch = aligned(kernels.gemm_workspace_bytes(gemm));
  auto call = std::make_unique<CpuCall>();
  const bool rounds = kernels.pack_shared != nullptr;
  const int64_t packed = rounds && (by_rows || bf16_shares_a(gemm)) && worth_sharing(gemm)
                             ? pack_shared_first(*call, gemm, kernels)
                             : 0;
  const bool cheap = rounds ? packed > 0 : d.m * d.k <= kCheapElements;
  const int64_t unit = cheap ? kColumnUnit : rounds ? kColumnUnitBf16 : kColumnUnitWide;
  Split split(by_rows ? d.m : ceil_div(d.n, unit));
  call->workspace_bytes = packed + split.chunks() * scratch;
  CpuPhase phase = {.chunks = split.chunks()};
  if (by_rows) phase.rows = d.m, phase.row_inputs = d.row_inputs(), phase.row_outputs = 1;
  const SquareBlocks blocks({d.m, d.n});
  if (by_rows && blocks.within(split)) call->square_parts = blocks.count();
  const bool squares = request.attrs.has("squares");
  phase.run = [=, &kernels](const CpuArgs& args, int64_t chunk) {
    Range part = split[chunk];
    GemmPart range = by_rows ? GemmPart{part.begin, part.end, 0, gemm.n}
                             : GemmPart{0, gemm.m, part.begin * unit, std::min(gemm.n, part.end * unit)};
    kernels.gemm(
        gemm,
        {args.in<float>(0), args.in<float>(1), d.bias ? args.in<float>(2) : nullptr, args.out<float>(0),
         packed > 0 ? args.workspace : nullptr, d.masked ? args.in<float>(2) : nullptr},
        range, args.workspace + packed + chunk * scratch);
    if (squares) square_rows(blocks, args.out<float>(0), part, args.out<double>(1));
  };
  call->phases.push_back(std::move(phase));
  return call;
}

/// Each element is a sum of sums over parts of k.
std::unique_ptr<PreparedKernel> deep_call(const KernelRequest& request, const CpuKernels& kernels) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  Gemm gemm = matmul_gemm(d);
  gemm.relu = false;
  Split depths((d.k + kDepthUnit - 1) / kDepthUnit), rows(d.m);
  const int64_t sums = aligned(d.m * d.n * int64_t{sizeof(float)}),
                scratch = aligned(kernels.gemm_workspace_bytes(gemm));
  auto call = std::make_unique<CpuCall>();
  call->workspace_bytes = depths.chunks() * (sums + scratch);
  call->phases.push_back(
      {.chunks = depths.chunks(), .run = [=, &kernels](const CpuArgs& args, int64_t chunk) {
         Gemm part = gemm;
         const int64_t k = depths[chunk].begin * kDepthUnit;
         part.k = std::min(d.k, depths[chunk].end * kDepthUnit) - k;
         const float *a = args.in<float>(0) + k * (d.transpose_a ? d.m : 1),
                     *b = args.in<float>(1) + k * (d.transpose_b ? 1 : d.n);
         auto* out = reinterpret_cast<float*>(args.workspace + chunk * sums);
         kernels.gemm(part, {a, b, nullptr, out}, {0, d.m, 0, d.n},
                      args.workspace + depths.chunks() * sums + chunk * scratch);
       }});
  call->phases.push_back({.chunks = rows.chunks(), .run = [=, &kernels](const CpuArgs& args, int64_t chunk) {
                            const int64_t begin = rows[chunk].begin * d.n, end = rows[chunk].end * d.n;
                            float* out = args.out<float>(0);
                            kernels.sum_chunks(reinterpret_cast<const float*>(args.workspace),
                                               depths.chunks(), sums / int64_t{sizeof(float)}, begin, end,
                                               out);
                            for (int64_t i = begin; i < end; ++i) {
                              if (d.bias) out[i] += args.in<float>(2)[i % d.n];
                              if ((d.relu && out[i] < 0) || (d.masked && !(args.in<float>(2)[i] > 0)))
                                out[i] = 0;
                            }
                          }});
  return call;
}

std::unique_ptr<PreparedKernel> product_call(const KernelRequest& request, const CpuKernels& kernels) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  return d.k >= kDeep && d.m * d.n <= kFewSums ? deep_call(request, kernels) : gemm_call(request, kernels);
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_matmul_gemm(const KernelRequest& request) {
  return product_call(request, cpu_kernels());
}
std::unique_ptr<PreparedKernel> prepare_matmul_bf16(const KernelRequest& request) {
  return product_call(request, bf16_kernels());
}

template <class T>
void matmul_plain(const MatmulDims& d, const T* a, const T* b, const T* third, T* c, Range rows) {
  int64_t a_row = d.transpose_a ? 1 : d.k, a_column = d.transpose_a ? d.m : 1;
  int64_t b_row = d.transpose_b ? 1 : d.n, b_column = d.transpose_b ? d.k : 1;
  for (int64_t i = rows.begin; i < rows.end; ++i)
    for (int64_t j = 0; j < d.n; ++j) {
      double total = 0;
      for (int64_t k = 0; k < d.k; ++k)
        total += static_cast<double>(a[i * a_row + k * a_column]) *
                 static_cast<double>(b[k * b_row + j * b_column]);
      T value = static_cast<T>(total);
      if (d.bias) value = static_cast<T>(value + third[j]);
      bool zero = (d.relu && value < T(0)) || (d.masked && !(third[i * d.n + j] > T(0)));
      c[i * d.n + j] = zero ? T(0) : value;
    }
}
template void matmul_plain(const MatmulDims&, const float*, const float*, const float*, float*, Range);
template void matmul_plain(const MatmulDims&, const double*, const double*, const double*, double*, Range);

std::unique_ptr<PreparedKernel> prepare_matmul_reference(const KernelRequest& request) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  auto of = [&](auto zero) {
    using T = decltype(zero);
    return row_call(d.m, d.row_inputs(), 1, [=](const CpuArgs& args, Range rows) {
      matmul_plain<T>(d, args.in<T>(0), args.in<T>(1), d.third() != 0 ? args.in<T>(2) : nullptr,
                      args.out<T>(0), rows);
    });
  };
  return request.inputs[0].dtype == DType::f32 ? of(float{}) : of(double{});
}

}  // namespace wholestep
