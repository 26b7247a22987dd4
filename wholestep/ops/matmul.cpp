// matmul: inference, gradient and kernels. Operands (a, b), a bias or the result of a ReLU; attributes
// transpose_a, transpose_b and activation, set by the fuse pass: "relu", or "relu_dx", where that result
// masks.
#include "wholestep/ops/matmul.h"

#include <fmt/format.h>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/epilogue.h"
#include "wholestep/ops/matmul_cpu.h"
#include "wholestep/ops/matmul_cuda.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/registry.h"
#include "wholestep/ops/shape.h"

namespace wholestep {

MatmulDims matmul_dims(std::span<const TensorType> in, const Attrs& attrs) {
  bool ta = attrs.flag("transpose_a"), tb = attrs.flag("transpose_b");
  const Shape &a = in[0].shape, &b = in[1].shape;
  return {.m = a[ta ? 1 : 0],
          .n = b[tb ? 0 : 1],
          .k = a[ta ? 0 : 1],
          .transpose_a = ta,
          .transpose_b = tb,
          .bias = in.size() == 3 && !masks(attrs),
          .masked = masks(attrs),
          .relu = clips(attrs)};
}

/// C = op(A) op(B), so dA = dC op(B)^T and dB = op(A)^T dC, each transposed back where its operand was.
std::vector<Tensor> matmul_vjp(const OpRecord& r, std::span<const Tensor> gs) {
  const Tensor &a = r.inputs[0], &b = r.inputs[1];
  const Tensor g = before_activation(r, gs[0]);
  bool ta = r.attrs.flag("transpose_a"), tb = r.attrs.flag("transpose_b");
  std::vector<Tensor> grads(r.inputs.size());
  if (r.needs_grad[0]) grads[0] = ta ? matmul(b, g, tb, true) : matmul(g, b, false, !tb);
  if (r.needs_grad[1]) grads[1] = tb ? matmul(g, a, true, ta) : matmul(a, g, !ta, false);
  if (grads.size() == 3 && !masks(r.attrs) && r.needs_grad[2]) grads[2] = sum(g, {0});
  return grads;
}

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
  check_mask(in, attrs, {in[0].dtype, {d.m, d.n}});
  return {{in[0].dtype, {d.m, d.n}}};
}

double matmul_flops(const KernelRequest& q) {
  MatmulDims d = matmul_dims(q.inputs, q.attrs);
  return 2.0 * static_cast<double>(d.m) * static_cast<double>(d.n) * static_cast<double>(d.k);
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
  // Gradients of small weights: sums that leave a rest, rows of four and of two, tiles at the edge.
  for (auto [k, m, n] : {std::tuple<int64_t, int64_t, int64_t>{32, 10, 84}, {13, 34, 18}, {64, 48, 16}})
    cases.push_back({.inputs = {{DType::f32, {k, m}}, {DType::f32, {k, n}}}, .attrs = with(true, false)});
  // Gradients whose squares can be summed with them: several rows a block, parts of a row, a block at the
  // edge.
  for (auto [k, m, n] : {std::tuple<int64_t, int64_t, int64_t>{32, 256, 100}, {3, 70, 1100}})
    cases.push_back({.inputs = {{DType::f32, {k, m}}, {DType::f32, {k, n}}}, .attrs = with(true, false)});
  cases.push_back({.inputs = {{DType::f32, {0, 3}}, {DType::f32, {3, 4}}}, .attrs = with(false, false)});
  cases.push_back({.inputs = {{DType::f32, {3, 0}}, {DType::f32, {0, 4}}}, .attrs = with(false, false)});
  cases.push_back({.inputs = {{DType::f32, {3, 4}}, {DType::f32, {0, 4}}}, .attrs = with(false, true)});
  // Few rows over a wide weight are split by columns.
  cases.push_back({.inputs = {{DType::f32, {3, 517}}, {DType::f32, {1031, 517}}, {DType::f32, {1031}}},
                   .attrs = with(false, true)});
  cases.push_back({.inputs = {{DType::f32, {4, 5}}, {DType::f32, {5, 3}}, {DType::f32, {3}}},
                   .attrs = {{"transpose_a", false}, {"transpose_b", false}, {"activation", "relu"}}});
  // The mask of a ReLU on products by rows, in tiles, with sums in parts, and of few rows over a wide weight.
  for (auto [m, n, k] :
       {std::array<int64_t, 3>{7, 13, 5}, {33, 130, 65}, {32, 70, 784}, {33, 64, 2048}, {3, 1031, 517}})
    cases.push_back({.inputs = {{DType::f32, {m, k}}, {DType::f32, {k, n}}, {DType::f32, {m, n}}},
                     .attrs = {{"transpose_a", false}, {"transpose_b", false}, {"activation", "relu_dx"}},
                     .distinct = true});
  // Few deep sums, which are split.
  cases.push_back(
      {.inputs = {{DType::f32, {6, 50176}}, {DType::f32, {25, 50176}}}, .attrs = with(false, true)});
  cases.push_back({.inputs = {{DType::f32, {5, 16400}}, {DType::f32, {16400, 7}}, {DType::f32, {7}}},
                   .attrs = {{"transpose_a", false}, {"transpose_b", false}, {"activation", "relu"}}});
  // Sums shared out among the warps of a block: rows and columns that fill no tile, fewer slices than warps.
  for (bool tb : {false, true})
    for (auto [m, n, k] : {std::array<int64_t, 3>{32, 70, 784}, {17, 1031, 64}, {33, 250, 200}})
      cases.push_back(
          {.inputs = {{DType::f32, {m, k}}, {DType::f32, tb ? Shape{n, k} : Shape{k, n}}, {DType::f32, {n}}},
           .attrs = with(false, tb)});
  return cases;
}

const OpDef k_matmul{
    .name = "matmul",
    .doc =
        "op(a) op(b) + bias, op transposing where asked; activation relu clips at 0, relu_dx makes 0 what "
        "lies where the third operand is not above 0",
    .operands = {"a", "b", "bias"},
    .shapes = "op(a) [M, K], op(b) [K, N], bias [N] (relu_dx: [M, N]) -> [M, N]",
    .infer = infer,
    .vjp = matmul_vjp,
    .gradient =
        "da = g b^T, db = a^T g, dbias = sum of g over M; under relu g is 0 where the result is, under "
        "relu_dx where the third operand is not above 0",
    .flops = matmul_flops,
    .cases = cases,
    .kernels = {
        {.backend = "cpu", .name = "bf16", .refuse = refuse_bf16, .prepare = prepare_matmul_bf16},
        {.backend = "cpu", .name = "gemm", .refuse = refuse_matmul_gemm, .prepare = prepare_matmul_gemm},
        {.backend = "cpu", .name = "reference", .prepare = prepare_matmul_reference},
        {.backend = "cuda",
         .name = "cuBLASLt",
         .refuse = refuse_matmul_library_cuda,
         .prepare = prepare_matmul_library_cuda},
        {.backend = "cuda",
         .name = "rows",
         .refuse = refuse_matmul_rows_cuda,
         .prepare = prepare_matmul_rows_cuda},
        {.backend = "cuda",
         .name = "tensor warps",
         .refuse = refuse_matmul_warps_cuda,
         .prepare = prepare_matmul_warps_cuda},
        {.backend = "cuda",
         .name = "tensor outer",
         .refuse = refuse_matmul_outer_cuda,
         .prepare = prepare_matmul_outer_cuda},
        {.backend = "cuda",
         .name = "tensor",
         .refuse = refuse_matmul_tensor_cuda,
         .prepare = prepare_matmul_tensor_cuda},
        {.backend = "cuda", .name = "tiles", .prepare = prepare_matmul_tiles_cuda}}};

}  // namespace

std::vector<const OpDef*> matmul_ops() { return {&k_matmul}; }

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  if (a.rank() != 2 || b.rank() != 2) return matmul_of_batches(a, b, transpose_a, transpose_b);
  return apply1(k_matmul, {a, b}, {{"transpose_a", transpose_a}, {"transpose_b", transpose_b}});
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (x.rank() > 0 && x.rank() != 2 && weight.rank() == 2) {  // one product for the rows of all leading axes
    Shape result = x.shape();
    result.set(x.rank() - 1, weight.dim(0));
    Tensor rows = reshape(x, Shape{x.numel() / std::max<int64_t>(x.dim(-1), 1), x.dim(-1)});
    return reshape(linear(rows, weight, bias), result);
  }
  std::vector<Tensor> operands = {x, weight};
  if (bias.defined()) operands.push_back(bias);
  return apply1(k_matmul, operands, {{"transpose_a", false}, {"transpose_b", true}});
}

}  // namespace wholestep
