// matmul: inference, gradient and kernels. Operands (a, b[, bias]); attributes transpose_a, transpose_b and
// activation
// ("relu", set by the fuse pass). Every element of the result is one sum over k in order, however the work is
// split.
#include "wholestep/ops/matmul.h"

#include <fmt/format.h>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/ops/matmul_cpu.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/registry.h"

namespace wholestep {
namespace {

Types infer(std::span<const TensorType> in, const Attrs& attrs) {
  if (in[0].shape.rank() != 2 || in[1].shape.rank() != 2)
    throw Error(ErrorCode::kUsage, {.what = "matmul needs two matrices",
                                    .got = to_string(in[0].shape) + " and " + to_string(in[1].shape),
                                    .hint = "flatten() images before a Linear layer"});
  if (in[0].dtype != in[1].dtype || !is_floating(in[0].dtype))
    throw Error(ErrorCode::kUsage, {.what = "matmul needs operands of one floating-point dtype",
                                    .got = to_string(in[0]) + " and " + to_string(in[1])});
  MatmulDims d = matmul_dims(in, attrs);
  int64_t other = in[1].shape[d.transpose_b ? 1 : 0];
  if (other != d.k)
    throw Error(ErrorCode::kUsage, {.what = "inner extents of matmul differ",
                                    .got = fmt::format("{} and {}", d.k, other),
                                    .expected = fmt::format("{} x {} with equal inner extents",
                                                            to_string(in[0].shape), to_string(in[1].shape))});
  if (d.bias && in[2] != TensorType{in[0].dtype, {d.n}})
    throw Error(
        ErrorCode::kUsage,
        {.what = "bias has the wrong shape", .got = to_string(in[2]), .expected = fmt::format("[{}]", d.n)});
  return {{in[0].dtype, {d.m, d.n}}};
}

/// C = op(A) op(B), so dA = dC op(B)^T and dB = op(A)^T dC, each transposed back where its operand was.
std::vector<Tensor> vjp(const OpRecord& r, std::span<const Tensor> gs) {
  const Tensor &a = r.inputs[0], &b = r.inputs[1], &g = gs[0];
  bool ta = r.attrs.flag("transpose_a"), tb = r.attrs.flag("transpose_b");
  std::vector<Tensor> grads(r.inputs.size());
  if (r.needs_grad[0]) grads[0] = ta ? matmul(b, g, tb, true) : matmul(g, b, false, !tb);
  if (r.needs_grad[1]) grads[1] = tb ? matmul(g, a, true, ta) : matmul(a, g, !ta, false);
  if (grads.size() == 3 && r.needs_grad[2]) grads[2] = sum(g, {0});
  return grads;
}

double matmul_flops(const KernelRequest& q) {
  MatmulDims d = matmul_dims(q.inputs, q.attrs);
  return 2.0 * static_cast<double>(d.m) * static_cast<double>(d.n) * static_cast<double>(d.k);
}

/// The plain triple loop, for every dtype: what the fast kernels are compared with.
std::unique_ptr<PreparedKernel> prepare_reference(const KernelRequest& q) {
  MatmulDims d = matmul_dims(q.inputs, q.attrs);
  int64_t a_row = d.transpose_a ? 1 : d.k, a_col = d.transpose_a ? d.m : 1, b_row = d.transpose_b ? 1 : d.n, b_col = d.transpose_b ? d.k : 1;
  return visit(q.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return row_call(d.m, d.transpose_a ? 0 : 1, 1, [=](const CpuArgs& args, Range rows) {
      for (int64_t i = rows.begin; i < rows.end; ++i)
        for (int64_t j = 0; j < d.n; ++j) {
          double total = 0;
          for (int64_t k = 0; k < d.k; ++k)
            total += static_cast<double>(args.in<T>(0)[i * a_row + k * a_col]) *
                     static_cast<double>(args.in<T>(1)[k * b_row + j * b_col]);
          if (d.bias) total += static_cast<double>(args.in<T>(2)[j]);
          if (d.relu && total < 0) total = 0;
          args.out<T>(0)[i * d.n + j] = static_cast<T>(total);
        }
    });
  });
}

std::vector<OpCase> cases() {
  auto with = [](bool ta, bool tb) { return Attrs{{"transpose_a", ta}, {"transpose_b", tb}}; };
  std::vector<OpCase> cases;
  for (bool ta : {false, true})
    for (bool tb : {false, true})
      for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {7, 13, 5}, {33, 17, 65}, {64, 10, 84}})
        cases.push_back({.inputs = {{DType::f32, ta ? Shape{k, m} : Shape{m, k}},
                                    {DType::f32, tb ? Shape{n, k} : Shape{k, n}}},
                         .attrs = with(ta, tb)});
  cases.push_back({.inputs = {{DType::f32, {9, 30}}, {DType::f32, {11, 30}}, {DType::f32, {11}}},
                   .attrs = with(false, true)});
  cases.push_back({.inputs = {{DType::f32, {0, 3}}, {DType::f32, {3, 4}}}, .attrs = with(false, false)});
  cases.push_back({.inputs = {{DType::f32, {3, 0}}, {DType::f32, {0, 4}}}, .attrs = with(false, false)});
  cases.push_back(
      {.inputs = {{DType::f32, {6, 50176}}, {DType::f32, {25, 50176}}}, .attrs = with(false, true)});
  return cases;
}

const OpDef k_matmul{
    .name = "matmul",
    .doc = "op(a) op(b) + bias, op transposing where asked; activation relu clips at 0",
    .operands = {"a", "b", "bias"},
    .infer = infer,
    .vjp = vjp,
    .flops = matmul_flops,
    .cases = cases,
    .kernels = {
        {.backend = "cpu", .name = "gemm", .refuse = refuse_matmul_gemm, .prepare = prepare_matmul_gemm},
        {.backend = "cpu", .name = "reference", .prepare = prepare_reference}}};

}  // namespace

std::vector<const OpDef*> matmul_ops() { return {&k_matmul}; }

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  return apply1(k_matmul, {a, b}, {{"transpose_a", transpose_a}, {"transpose_b", transpose_b}});
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  std::vector<Tensor> operands = {x, weight};
  if (bias.defined()) operands.push_back(bias);
  return apply1(k_matmul, operands, {{"transpose_a", false}, {"transpose_b", true}});
}

}  // namespace wholestep
