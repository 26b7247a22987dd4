// batch_matmul: as many products as there are matrices, each with the kernels and the bits of one matmul.
// Operands (a, b) of three axes; broadcasting and other ranks are made of reshapes and expands around it.
#include <fmt/format.h>

#include "wholestep/ops/batch_matmul_cuda.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/matmul_cpu.h"
#include "wholestep/ops/registry.h"
#include "wholestep/ops/shape.h"

namespace wholestep {

BatchMatmulDims batch_matmul_dims(const KernelRequest& q) {
  TensorType matrices[] = {q.inputs[0], q.inputs[1]};
  for (TensorType& t : matrices) t.shape = {t.shape[1], t.shape[2]};
  return {q.inputs[0].shape[0], matmul_dims(matrices, q.attrs)};
}

namespace {

Types infer(std::span<const TensorType> in, const Attrs& attrs) {
  if (in[0].shape.rank() != 3 || in[1].shape.rank() != 3 || in[0].shape[0] != in[1].shape[0])
    throw Error(ErrorCode::kUsage, {.what = "batch_matmul needs two batches of as many matrices",
                                    .got = to_string(in[0].shape) + " and " + to_string(in[1].shape)});
  if (in[0].dtype != in[1].dtype || !is_floating(in[0].dtype))
    throw Error(ErrorCode::kUsage, {.what = "matmul needs operands of one floating-point dtype",
                                    .got = to_string(in[0]) + " and " + to_string(in[1])});
  auto [batch, d] = batch_matmul_dims({"batch_matmul", in, {}, attrs});
  if (int64_t other = in[1].shape[d.transpose_b ? 2 : 1]; other != d.k)
    throw Error(ErrorCode::kUsage, {.what = "inner extents of matmul differ",
                                    .got = fmt::format("{} and {}", d.k, other),
                                    .expected = fmt::format("{} x {} with equal inner extents",
                                                            to_string(in[0].shape), to_string(in[1].shape))});
  return {{in[0].dtype, {batch, d.m, d.n}}};
}

double batch_matmul_flops(const KernelRequest& q) {
  auto [batch, d] = batch_matmul_dims(q);
  return 2.0 * static_cast<double>(batch * d.m) * static_cast<double>(d.n) * static_cast<double>(d.k);
}

/// Runs product(batch, rows, scratch) for every matrix: whole ones, split as rows of the operands, or, where
/// they are few, runs of their rows.
template <class Product>
std::unique_ptr<PreparedKernel> product_call(int64_t batch, int64_t m, int64_t scratch_bytes,
                                             Product product) {
  bool whole = batch >= Split::kMaxChunks;
  Split split(whole ? batch : batch * m);
  auto call = std::make_unique<CpuCall>();
  call->workspace_bytes = split.chunks() * scratch_bytes;
  CpuPhase phase = {.chunks = split.chunks()};
  if (whole) phase.rows = batch, phase.row_inputs = 3, phase.row_outputs = 1;
  phase.run = [=](const CpuArgs& args, int64_t chunk) {
    Range part = split[chunk];
    if (whole) part = {part.begin * m, part.end * m};
    while (part.begin < part.end) {
      int64_t b = part.begin / m, end = std::min(part.end, (b + 1) * m);
      product(args, b, Range{part.begin - b * m, end - b * m}, args.workspace + chunk * scratch_bytes);
      part.begin = end;
    }
  };
  call->phases.push_back(std::move(phase));
  return call;
}

std::unique_ptr<PreparedKernel> gemm_call(const KernelRequest& q, const CpuKernels& kernels) {
  auto [batch, d] = batch_matmul_dims(q);
  Gemm gemm = matmul_gemm(d);
  return product_call(batch, d.m, aligned(kernels.gemm_workspace_bytes(gemm)),
                      [gemm, &kernels](const CpuArgs& args, int64_t b, Range rows, std::byte* scratch) {
                        const float *from_a = args.in<float>(0) + b * gemm.m * gemm.k,
                                    *from_b = args.in<float>(1) + b * gemm.k * gemm.n;
                        kernels.gemm(gemm,
                                     {from_a, from_b, nullptr, args.out<float>(0) + b * gemm.m * gemm.n},
                                     {rows.begin, rows.end, 0, gemm.n}, scratch);
                      });
}

std::unique_ptr<PreparedKernel> prepare_gemm(const KernelRequest& q) { return gemm_call(q, cpu_kernels()); }
std::unique_ptr<PreparedKernel> prepare_bf16(const KernelRequest& q) { return gemm_call(q, bf16_kernels()); }

std::unique_ptr<PreparedKernel> prepare_reference(const KernelRequest& q) {
  auto [batch, dims] = batch_matmul_dims(q);
  auto of = [batch = batch, d = dims](auto zero) {
    using T = decltype(zero);
    return product_call(batch, d.m, 0, [d](const CpuArgs& args, int64_t b, Range rows, std::byte*) {
      matmul_plain<T>(d, args.in<T>(0) + b * d.m * d.k, args.in<T>(1) + b * d.k * d.n, nullptr,
                      args.out<T>(0) + b * d.m * d.n, rows);
    });
  };
  return q.inputs[0].dtype == DType::f32 ? of(float{}) : of(double{});
}

std::vector<OpCase> cases() {
  std::vector<OpCase> cases;
  auto add = [&](int64_t batch, int64_t m, int64_t n, int64_t k, bool ta, bool tb) {
    cases.push_back({.inputs = {{DType::f32, ta ? Shape{batch, k, m} : Shape{batch, m, k}},
                                {DType::f32, tb ? Shape{batch, n, k} : Shape{batch, k, n}}},
                     .attrs = {{"transpose_a", ta}, {"transpose_b", tb}}});
  };
  for (bool ta : {false, true})
    for (bool tb : {false, true}) {
      add(1, 1, 1, 1, ta, tb);
      add(3, 7, 13, 5, ta, tb);
      add(11, 2, 3, 4, ta, tb);
      add(9, 66, 34, 65, ta, tb);
      add(9, 80, 132, 128, ta, tb);  // tensor cores
    }
  add(2, 20, 24, 1100, false, true);  // long sums of few products
  add(3, 33, 17, 520, true, false);
  add(0, 2, 3, 4, false, false);
  add(2, 0, 3, 4, false, false);
  add(2, 3, 4, 0, false, false);
  return cases;
}

const OpDef k_batch_matmul{
    .name = "batch_matmul",
    .doc = "op(a[i]) op(b[i]) for every i of the first axis, op transposing where asked",
    .operands = {"a", "b"},
    .shapes = "op(a) [B, M, K], op(b) [B, K, N] -> [B, M, N]",
    .infer = infer,
    .vjp = matmul_vjp,
    .gradient = "that of matmul: da = g b^T, db = a^T g",
    .flops = batch_matmul_flops,
    .cases = cases,
    .kernels = {{.backend = "cpu", .name = "bf16", .refuse = refuse_bf16, .prepare = prepare_bf16},
                {.backend = "cpu", .name = "gemm", .refuse = refuse_matmul_gemm, .prepare = prepare_gemm},
                {.backend = "cpu", .name = "reference", .prepare = prepare_reference},
                {.backend = "cuda",
                 .name = "cuBLASLt",
                 .refuse = refuse_batch_matmul_library_cuda,
                 .prepare = prepare_batch_matmul_library_cuda},
                {.backend = "cuda",
                 .name = "tensor",
                 .refuse = refuse_batch_matmul_tensor_cuda,
                 .prepare = prepare_batch_matmul_tensor_cuda},
                {.backend = "cuda", .name = "tiles", .prepare = prepare_batch_matmul_tiles_cuda}}};

/// x [..., P, Q] as [batch, P, Q], where `leading` are the axes before the last two and x's broadcast to
/// them.
Tensor as_batch(const Tensor& x, const Shape& leading) {
  Shape whole = leading;
  int64_t rows = x.dim(-2), columns = x.dim(-1);
  whole.push_back(rows), whole.push_back(columns);
  return reshape(expand(x, whole), Shape{leading.numel(), rows, columns});
}

Shape leading_axes(const Tensor& x) {
  return Shape(x.shape().extents().first(static_cast<size_t>(x.rank() - 2)));
}

}  // namespace

std::vector<const OpDef*> batch_matmul_ops() { return {&k_batch_matmul}; }

Tensor matmul_of_batches(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  if (a.rank() == 0 || b.rank() == 0)
    throw Error(ErrorCode::kUsage, {.what = "matmul needs operands of at least one axis",
                                    .got = to_string(a.type()) + " and " + to_string(b.type()),
                                    .hint = "multiply by a scalar with *"});
  auto without = [](const Shape& shape, int axis) {
    Shape rest;
    for (int i = 0; i < shape.rank(); ++i)
      if (i != axis) rest.push_back(shape[i]);
    return rest;
  };
  if (a.rank() == 1) {
    Tensor c = matmul(reshape(a, Shape{1, a.dim(0)}), b, false, transpose_b);
    return reshape(c, without(c.shape(), c.rank() - (b.rank() == 1 ? 1 : 2)));
  }
  if (b.rank() == 1) {
    Tensor c = matmul(a, reshape(b, Shape{b.dim(0), 1}), transpose_a, false);
    return reshape(c, without(c.shape(), c.rank() - 1));
  }
  Shape leading = broadcast_shapes(leading_axes(a), leading_axes(b));
  Shape result = leading;
  result.push_back(a.dim(transpose_a ? -1 : -2)), result.push_back(b.dim(transpose_b ? -2 : -1));
  if (b.rank() == 2 && !transpose_a)  // the rows of all matrices meet the same b: one product
    return reshape(matmul(reshape(a, Shape{leading.numel() * a.dim(-2), a.dim(-1)}), b, false, transpose_b),
                   result);
  return reshape(apply1(k_batch_matmul, {as_batch(a, leading), as_batch(b, leading)},
                        {{"transpose_a", transpose_a}, {"transpose_b", transpose_b}}),
                 result);
}

}  // namespace wholestep
