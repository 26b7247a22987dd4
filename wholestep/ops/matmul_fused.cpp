// matmul_fused, an element-wise program over a product and operands of its shape, and matmul_squares, the sum
// of its squares: rows, cases, sizes.
#include "wholestep/ops/matmul_fused.h"

#include <fmt/format.h>

#include <array>

#include "wholestep/ops/registry.h"

namespace wholestep {

Types program_operands(std::span<const TensorType> inputs, const Attrs& attrs) {
  Types operands = find_op("matmul").infer(inputs.first(2), attrs);
  if (int64_t terms = matmul_dims(inputs.first(2), attrs).k; terms > kFusedTerms)
    throw Error(ErrorCode::kUsage, {.what = "a product that is not stored has too many terms",
                                    .got = std::to_string(terms),
                                    .expected = fmt::format("at most {}", kFusedTerms)});
  operands.insert(operands.end(), inputs.begin() + 2, inputs.end());
  return operands;
}

std::span<const TensorType> program_results(const KernelRequest& request) {
  return request.outputs.first(request.outputs.size() - InputGradient::asked(request.attrs));
}

InputGradient::InputGradient(const KernelRequest& request)
    : weight(static_cast<size_t>(request.attrs.integer("input_gradient"))),
      masked(request.attrs.flag_or("masked", false)),
      inputs{request.inputs[0], request.inputs[weight]},
      outputs{request.outputs.back()},
      attrs{{"transpose_a", false}, {"transpose_b", false}} {
  if (!masked) return;
  inputs.push_back(request.inputs[1]);
  attrs.set({"activation", "relu_dx"});
}

namespace {

/// The type of dx.
TensorType infer_input_gradient(std::span<const TensorType> in, const TensorType& product,
                                const Attrs& attrs) {
  if (!attrs.flag("transpose_a") || attrs.flag("transpose_b"))
    throw Error(ErrorCode::kUsage,
                {.what = "a product with an input gradient is not the gradient of a weight",
                 .got = fmt::format("transpose_a={}, transpose_b={}", attrs.flag("transpose_a"),
                                    attrs.flag("transpose_b")),
                 .expected = "transpose_a=true, transpose_b=false"});
  const int64_t weight = attrs.integer("input_gradient"), operands = static_cast<int64_t>(in.size());
  if (weight < 2 || weight >= operands)
    throw Error(ErrorCode::kUsage, {.what = "input_gradient is no operand of the program over a product",
                                    .got = std::to_string(weight),
                                    .expected = fmt::format("at least 2 and below {}", operands)});
  if (const TensorType& type = in[static_cast<size_t>(weight)]; type != product)
    throw Error(ErrorCode::kUsage, {.what = "the weight of an input gradient is not as the product",
                                    .got = to_string(type),
                                    .expected = to_string(product)});
  return in[1];
}

Types infer_fused(std::span<const TensorType> in, const Attrs& attrs) {
  Types operands = program_operands(in, attrs), results = find_op("fused").infer(operands, attrs);
  for (const TensorType& result : results)
    if (result.shape != operands[0].shape)
      throw Error(ErrorCode::kUsage,
                  {.what = "the results of a program over a product have another shape than it",
                   .got = to_string(result.shape),
                   .expected = to_string(operands[0].shape)});
  if (InputGradient::asked(attrs)) results.push_back(infer_input_gradient(in, operands[0], attrs));
  else if (attrs.has("masked"))
    throw Error(ErrorCode::kUsage, {.what = "there is no input gradient to mask",
                                    .got = "masked",
                                    .expected = "input_gradient beside it"});
  return results;
}
Types infer_squares(std::span<const TensorType> in, const Attrs& attrs) {
  program_operands(in, attrs);  // the checks of matmul
  return {{DType::f64, {}}};
}

double product_flops(const KernelRequest& q) {
  return find_op("matmul").flops({"matmul", q.inputs.first(2), {}, q.attrs});
}
double fused_flops(const KernelRequest& q) {
  return product_flops(q) * (InputGradient::asked(q.attrs) ? 2 : 1) + find_op("fused").flops(q);
}
double squares_flops(const KernelRequest& q) {
  MatmulDims d = product_dims(q);
  return static_cast<double>(d.k * (d.k + 1)) * static_cast<double>(d.m + d.n);
}

/// Products of one row, of one column, of one term, of none, of odd sizes, and of several tiles.
std::vector<OpCase> product_cases() {
  std::vector<OpCase> cases;
  for (bool ta : {false, true})
    for (bool tb : {false, true})
      for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {7, 13, 5}, {130, 68, 1}})
        cases.push_back({.inputs = {{DType::f32, ta ? Shape{k, m} : Shape{m, k}},
                                    {DType::f32, tb ? Shape{n, k} : Shape{k, n}}},
                         .attrs = {{"transpose_a", ta}, {"transpose_b", tb}}});
  for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1031, 3},
                         {1031, 1, 2},
                         {133, 1100, 37},
                         {65, 140, 72},
                         {0, 4, 3},
                         {3, 4, 0}})
    cases.push_back({.inputs = {{DType::f32, {k, m}}, {DType::f32, {k, n}}},
                     .attrs = {{"transpose_a", true}, {"transpose_b", false}}});
  return cases;
}

/// Each product in a momentum step that a flag guards, some with the gradient of the layer's input, and once
/// with operands that broadcast and a bool result.
std::vector<OpCase> fused_cases() {
  std::vector<OpCase> cases = product_cases();
  constexpr int64_t kWeight = 3;
  for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1},
                         {7, 13, 5},
                         {64, 128, 32},
                         {96, 256, 16},
                         {32, 384, 27},
                         {133, 300, 37},
                         {64, 140, 72},
                         {0, 4, 3},
                         {3, 4, 0}})
    for (bool masked : {false, true}) {
      if (!masked && m > 64) continue;  // once is enough
      cases.push_back({.inputs = {{DType::f32, {k, m}}, {DType::f32, {k, n}}},
                       .attrs = {{"transpose_a", true},
                                 {"transpose_b", false},
                                 {"input_gradient", kWeight},
                                 {"masked", masked}}});
    }
  for (OpCase& c : cases) {
    Shape shape = program_operands(c.inputs, c.attrs)[0].shape;
    for (Shape operand : {shape, shape, Shape{}})
      c.inputs.push_back({operand.rank() > 0 ? DType::f32 : DType::boolean, operand});
    c.attrs.set({"program", "f32 4 | 0.5 | mul 1 4; add 5 0; sub 2 6; where 3 7 2; where 3 6 1 | 8 9"});
    c.attrs.set({"outputs", "f32 f32"});
    c.attrs.set({"shape", std::vector<int64_t>(shape.begin(), shape.end())});
  }
  cases.push_back(
      {.inputs = {{DType::f32, {9, 6}}, {DType::f32, {6, 140}}, {DType::f32, {140}}, {DType::f32, {9, 1}}},
       .attrs = {{"transpose_a", false},
                 {"transpose_b", false},
                 {"shape", std::vector<int64_t>{9, 140}},
                 {"outputs", "f32 bool"},
                 {"program", "f32 3 | 60 | add 0 1; mul 4 2; greater 4 3 | 5 6"}}});
  // The gradient of the input where an operand of the program broadcasts.
  cases.push_back({.inputs = {{DType::f32, {8, 32}},
                              {DType::f32, {8, 128}},
                              {DType::f32, {32, 128}},
                              {DType::f32, {128}}},
                   .attrs = {{"transpose_a", true},
                             {"transpose_b", false},
                             {"input_gradient", int64_t{2}},
                             {"shape", std::vector<int64_t>{32, 128}},
                             {"outputs", "f32"},
                             {"program", "f32 3 | | sub 1 0; add 3 2 | 4"}}});
  return cases;
}

/// And with operands whose columns are read four at a time, of whole tiles of the Gram matrix.
std::vector<OpCase> squares_cases() {
  std::vector<OpCase> cases = product_cases();
  for (auto [m, n, k] : {std::array<int64_t, 3>{12, 1028, 8}, {128, 4100, 32}, {4, 260, 40}, {68, 36, 64}})
    for (bool transposed : {false, true})
      cases.push_back({.inputs = {{DType::f32, transposed ? Shape{m, k} : Shape{k, m}},
                                  {DType::f32, transposed ? Shape{n, k} : Shape{k, n}}},
                       .attrs = {{"transpose_a", !transposed}, {"transpose_b", transposed}}});
  return cases;
}

const OpDef k_matmul_fused{
    .name = "matmul_fused",
    .doc =
        "an element-wise region over op(a) op(b), register 0 of attribute `program`, and broadcast operands; "
        "`input_gradient`, the number of operand W [M, N], asks for one more result, dx = a W, and `masked` "
        "for 0 where b is not above 0",
    .operands = {"a", "b"},
    .shapes =
        "op(a) [M, K], op(b) [K, N], [...], ... -> [M, N], [M, N] (input_gradient: the last one [K, N]), ...",
    .infer = infer_fused,
    .flops = fused_flops,
    .cases = fused_cases,
    .kernels = {
        {.backend = "cpu", .name = "bf16 tiles", .refuse = refuse_bf16, .prepare = prepare_matmul_fused_bf16},
        {.backend = "cpu", .name = "tiles", .prepare = prepare_matmul_fused_cpu},
        {.backend = "cuda",
         .name = "tensor columns",
         .refuse = refuse_matmul_fused_columns_cuda,
         .prepare = prepare_matmul_fused_columns_cuda},
        {.backend = "cuda",
         .name = "tensor",
         .refuse = refuse_product_tensor_cuda,
         .prepare = prepare_matmul_fused_tensor_cuda},
        {.backend = "cuda", .name = "tiles", .prepare = prepare_matmul_fused_tiles_cuda}}};
const OpDef k_matmul_squares{
    .name = "matmul_squares",
    .doc = "sum of squares of all elements of op(a) op(b), exact but for sums in f64",
    .operands = {"a", "b"},
    .shapes = "op(a) [M, K], op(b) [K, N] -> []",
    .infer = infer_squares,
    .flops = squares_flops,
    .cases = squares_cases,
    .kernels = {{.backend = "cpu", .name = "gram", .prepare = prepare_matmul_squares_cpu},
                {.backend = "cuda", .name = "gram", .prepare = prepare_matmul_squares_cuda}}};

}  // namespace

std::vector<const OpDef*> matmul_fused_ops() { return {&k_matmul_fused, &k_matmul_squares}; }

}  // namespace wholestep
