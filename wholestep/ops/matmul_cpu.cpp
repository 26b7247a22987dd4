// The CPU kernels of matmul. Every element of the result is one sum over k in order, however the work is
// split, so it may be split by rows of a batch or, for a few rows over a large weight, by columns.
#include "wholestep/ops/matmul_cpu.h"

#include "wholestep/backend/cpu/call.h"
#include "wholestep/backend/cpu/precision.h"

namespace wholestep {
namespace {

constexpr int64_t kColumnUnit = 32;  ///< columns are split at multiples of this, the width of a tile

}  // namespace

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

std::unique_ptr<PreparedKernel> gemm_call(const KernelRequest& request, const CpuKernels& kernels) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  Gemm gemm = matmul_gemm(d);
  // Each part reads all of the operand it does not split, so the smaller one is left whole (measured in
  // docs/performance.md).
  bool by_rows = d.m >= d.n;
  Split split(by_rows ? d.m : (d.n + kColumnUnit - 1) / kColumnUnit);
  int64_t scratch = aligned(kernels.gemm_workspace_bytes(gemm));
  auto call = std::make_unique<CpuCall>();
  call->workspace_bytes = split.chunks() * scratch;
  CpuPhase phase = {.chunks = split.chunks()};
  if (by_rows) phase.rows = d.m, phase.row_inputs = d.transpose_a ? 0 : 1, phase.row_outputs = 1;
  phase.run = [=, &kernels, bias = d.bias](const CpuArgs& args, int64_t chunk) {
    Range part = split[chunk];
    GemmPart range =
        by_rows ? GemmPart{part.begin, part.end, 0, gemm.n}
                : GemmPart{0, gemm.m, part.begin * kColumnUnit, std::min(gemm.n, part.end * kColumnUnit)};
    kernels.gemm(
        gemm, {args.in<float>(0), args.in<float>(1), bias ? args.in<float>(2) : nullptr, args.out<float>(0)},
        range, args.workspace + chunk * scratch);
  };
  call->phases.push_back(std::move(phase));
  return call;
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_matmul_gemm(const KernelRequest& request) {
  return gemm_call(request, cpu_kernels());
}
std::unique_ptr<PreparedKernel> prepare_matmul_bf16(const KernelRequest& request) {
  return gemm_call(request, bf16_kernels());
}

template <class T>
void matmul_plain(const MatmulDims& d, const T* a, const T* b, const T* bias, T* c, Range rows) {
  int64_t a_row = d.transpose_a ? 1 : d.k, a_column = d.transpose_a ? d.m : 1;
  int64_t b_row = d.transpose_b ? 1 : d.n, b_column = d.transpose_b ? d.k : 1;
  for (int64_t i = rows.begin; i < rows.end; ++i)
    for (int64_t j = 0; j < d.n; ++j) {
      double total = 0;
      for (int64_t k = 0; k < d.k; ++k)
        total += static_cast<double>(a[i * a_row + k * a_column]) *
                 static_cast<double>(b[k * b_row + j * b_column]);
      T value = static_cast<T>(total);
      if (bias) value = static_cast<T>(value + bias[j]);
      c[i * d.n + j] = d.relu && value < T(0) ? T(0) : value;
    }
}
template void matmul_plain(const MatmulDims&, const float*, const float*, const float*, float*, Range);
template void matmul_plain(const MatmulDims&, const double*, const double*, const double*, double*, Range);

std::unique_ptr<PreparedKernel> prepare_matmul_reference(const KernelRequest& request) {
  MatmulDims d = matmul_dims(request.inputs, request.attrs);
  auto of = [&](auto zero) {
    using T = decltype(zero);
    return row_call(d.m, d.transpose_a ? 0 : 1, 1, [=](const CpuArgs& args, Range rows) {
      matmul_plain<T>(d, args.in<T>(0), args.in<T>(1), d.bias ? args.in<T>(2) : nullptr, args.out<T>(0),
                      rows);
    });
  };
  return request.inputs[0].dtype == DType::f32 ? of(float{}) : of(double{});
}

}  // namespace wholestep
