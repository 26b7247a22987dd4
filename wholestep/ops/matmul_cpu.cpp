// matmul by the blocked GEMM. Its bits do not depend on the blocking, so the split over workers is free to
// follow the sizes.
#include "wholestep/ops/matmul_cpu.h"

#include "wholestep/backend/cpu/call.h"
#include "wholestep/backend/cpu/kernels.h"

namespace wholestep {
namespace {

constexpr int64_t kColumnUnit = 32;  ///< columns are split at multiples of this, the width of a tile

}  // namespace

MatmulDims matmul_dims(std::span<const TensorType> inputs, const Attrs& attrs) {
  bool ta = attrs.flag("transpose_a"), tb = attrs.flag("transpose_b");
  const Shape &a = inputs[0].shape, &b = inputs[1].shape;
  return {a[ta ? 1 : 0],
          b[tb ? 0 : 1],
          a[ta ? 0 : 1],
          ta,
          tb,
          inputs.size() == 3,
          attrs.text_or("activation", "") == "relu"};
}

std::string refuse_matmul_gemm(const KernelRequest& q) {
  return q.inputs[0].dtype == DType::f32 ? "" : "f32 only";
}

std::unique_ptr<PreparedKernel> prepare_matmul_gemm(const KernelRequest& q) {
  MatmulDims d = matmul_dims(q.inputs, q.attrs);
  Gemm gemm{.m = d.m,
            .n = d.n,
            .k = d.k,
            .transpose_a = d.transpose_a,
            .transpose_b = d.transpose_b,
            .lda = q.inputs[0].shape[1],
            .ldb = q.inputs[1].shape[1],
            .ldc = d.n,
            .relu = d.relu};
  // Each part reads all of the operand it does not split, so the smaller one is left whole.
  bool by_rows = d.m >= d.n;
  Split split(by_rows ? d.m : (d.n + kColumnUnit - 1) / kColumnUnit);
  int64_t scratch = (gemm_workspace_bytes(gemm) + 63) / 64 * 64;
  auto call = std::make_unique<CpuCall>();
  call->workspace_bytes = scratch * split.chunks();
  CpuPhase phase{.chunks = split.chunks()};
  if (by_rows) phase.rows = d.m, phase.row_inputs = d.transpose_a ? 0 : 1, phase.row_outputs = 1;
  phase.run = [gemm, split, by_rows, scratch, bias = d.bias](const CpuArgs& args, int64_t chunk) {
    Range part = split[chunk];
    GemmPart range =
        by_rows ? GemmPart{part.begin, part.end, 0, gemm.n}
                : GemmPart{0, gemm.m, part.begin * kColumnUnit, std::min(gemm.n, part.end * kColumnUnit)};
    cpu_kernels().gemm(
        gemm, {args.in<float>(0), args.in<float>(1), bias ? args.in<float>(2) : nullptr, args.out<float>(0)},
        range, args.workspace + chunk * scratch);
  };
  call->phases.push_back(std::move(phase));
  return call;
}

}  // namespace wholestep
