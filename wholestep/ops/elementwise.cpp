// Rows of the element-wise table: inference, gradients and kernels, generated from elementwise_table.inc; and
// the four element-wise ops that are not in it: cast, full, fused, and the compositions.
#include "wholestep/ops/elementwise.h"

#include <fmt/format.h>

#include <array>
#include <sstream>

#include "wholestep/graph/graph.h"
#include "wholestep/graph/widen.h"
#include "wholestep/ops/elementwise_cpu.h"
#include "wholestep/ops/elementwise_cuda.h"
#include "wholestep/ops/elementwise_program.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/registry.h"

namespace wholestep {
namespace {

enum Domain { kFloat, kAny };
const Tensor kNoGradient;

/// Sums a gradient to the shape of the operand that was broadcast.
Tensor fit(const Tensor& gradient, const Tensor& operand) {
  return gradient.defined() && gradient.shape() != operand.shape() ? sum_to(gradient, operand.shape())
                                                                   : gradient;
}

/// What a tie of x and y passes on to each of them, and g elsewhere: where one is NaN, to both.
Tensor half_at_tie(const Tensor& x, const Tensor& y, const Tensor& g) {
  return where(equal(x, y), g * 0.5, g);
}

Types infer_broadcast(std::span<const TensorType> in, Domain domain, bool gives_bool, size_t first) {
  Shape shape;
  for (const TensorType& type : in) shape = broadcast_shapes(shape, type.shape);
  for (size_t i = first + 1; i < in.size(); ++i)
    if (in[i].dtype != in[first].dtype)
      throw Error(ErrorCode::kUsage,
                  {.what = "operands have different dtypes",
                   .got = fmt::format("{} and {}", name(in[first].dtype), name(in[i].dtype)),
                   .hint = "cast() one"});
  if (domain == kFloat && !is_floating(in[first].dtype))
    throw Error(ErrorCode::kUsage, {.what = "this op takes floating-point operands only",
                                    .got = std::string(name(in[first].dtype)),
                                    .expected = "f32, f64, f16 or bf16",
                                    .hint = "cast() first"});
  return {{gives_bool ? DType::boolean : in[first].dtype, shape}};
}

template <Domain domain>
Types infer_same(std::span<const TensorType> in, const Attrs&) {
  return infer_broadcast(in, domain, false, 0);
}
template <Domain domain>
Types infer_compare(std::span<const TensorType> in, const Attrs&) {
  return infer_broadcast(in, domain, true, 0);
}
template <Domain domain>
Types infer_where(std::span<const TensorType> in, const Attrs&) {
  if (in[0].dtype != DType::boolean)
    throw Error(ErrorCode::kUsage,
                {.what = "the condition of where must be bool", .got = std::string(name(in[0].dtype))});
  return infer_broadcast(in, domain, false, 1);
}

// The gradient rules. Their text is the table's: x, y, z operands, out result, g gradient.
#define UNARY(name, domain, expression, dx)                                          \
  std::vector<Tensor> name##_vjp(const OpRecord& r, std::span<const Tensor> gs) {    \
    [[maybe_unused]] const Tensor &x = r.inputs[0], &out = r.outputs[0], &g = gs[0]; \
    return {dx};                                                                     \
  }
#define BINARY(name, domain, expression, dx, dy)                                                       \
  std::vector<Tensor> name##_vjp(const OpRecord& r, std::span<const Tensor> gs) {                      \
    [[maybe_unused]] const Tensor &x = r.inputs[0], &y = r.inputs[1], &out = r.outputs[0], &g = gs[0]; \
    return {r.needs_grad[0] ? fit(dx, x) : Tensor(), r.needs_grad[1] ? fit(dy, y) : Tensor()};         \
  }
#define COMPARE(name, domain, expression)
#define TERNARY(name, domain, expression, dx, dy, dz)                                                    \
  std::vector<Tensor> name##_vjp(const OpRecord& r, std::span<const Tensor> gs) {                        \
    [[maybe_unused]] const Tensor &x = r.inputs[0], &y = r.inputs[1], &z = r.inputs[2], &g = gs[0];      \
    return {Tensor(), r.needs_grad[1] ? fit(dy, y) : Tensor(), r.needs_grad[2] ? fit(dz, z) : Tensor()}; \
  }
#include "wholestep/ops/elementwise_table.inc"
#undef UNARY
#undef BINARY
#undef COMPARE
#undef TERNARY

// What the tests run: sizes 0 and 1, primes, tails of every vector width, broadcasting on either side. Values
// keep away from kinks, and operands of logarithms, roots and powers from their poles.
std::vector<OpCase> cases_of(int arity, Domain domain, bool condition_first, std::string_view op_name) {
  bool positive = op_name == "log" || op_name == "sqrt" || op_name == "rsqrt" || op_name == "pow" ||
                  op_name == "reciprocal" || op_name == "div" || op_name == "log1p";
  double low = positive ? 0.5 : -2, high = 2;
  if (op_name == "floor") low = -1.95, high = -1.05;  // it jumps at every integer
  if (op_name == "fmod") low = 1.05, high = 1.95;     // and it where x / y is one: here at x = y alone
  std::vector<std::vector<Shape>> shapes =
      arity == 1 ? std::vector<std::vector<Shape>>{{{}}, {{1}}, {{7}}, {{0, 3}}, {{3, 5, 37}}, {{2, 1031}}}
                 : std::vector<std::vector<Shape>>{
                       {{}, {}},         {{5}, {5}},    {{3, 1}, {1, 4}}, {{2, 3, 4, 5}, {3, 1, 1}},
                       {{67, 19}, {19}}, {{}, {9, 33}}, {{0, 2}, {2}},    {{1030, 3}, {1030, 1}},
                       {{3, 0}, {1, 1}}};
  std::vector<OpCase> cases;
  bool halves =
      op_name == "mul" || op_name == "tanh" || op_name == "greater" || op_name == "where";  // one of a kind
  for (DType dtype : {DType::f32, DType::i64, DType::f16, DType::bf16}) {
    if ((dtype == DType::i64 && domain == kFloat) || (is_half(dtype) && !halves)) continue;
    for (const auto& row : shapes) {
      OpCase c{.inputs = {}, .low = low, .high = high, .distinct = true};
      for (int i = 0; i < arity; ++i)
        c.inputs.push_back(
            {i == 0 && condition_first ? DType::boolean : dtype, row[static_cast<size_t>(i) % row.size()]});
      cases.push_back(c);
    }
  }
  return cases;
}

#define UNARY(name, domain, expression, dx) \
  std::vector<OpCase> name##_cases() { return cases_of(1, domain, false, #name); }
#define BINARY(name, domain, expression, dx, dy) \
  std::vector<OpCase> name##_cases() { return cases_of(2, domain, false, #name); }
#define COMPARE(name, domain, expression) BINARY(name, domain, expression, , )
#define TERNARY(name, domain, expression, dx, dy, dz) \
  std::vector<OpCase> name##_cases() { return cases_of(3, domain, true, #name); }
#include "wholestep/ops/elementwise_table.inc"
#undef UNARY
#undef BINARY
#undef COMPARE
#undef TERNARY

/// "dx = g / y, dy = -g * out / y" of the table's texts.
std::string gradient_text(const std::vector<std::string>& texts) {
  std::string text;
  for (size_t i = 0; i < texts.size(); ++i)
    text +=
        fmt::format("{}d{} = {}", i > 0 ? ", " : "", "xyz"[i], texts[i] == "kNoGradient" ? "none" : texts[i]);
  return text;
}

std::vector<Kernel> kernels() {
  return {{.backend = "cpu", .name = "blocks", .prepare = prepare_elementwise_cpu},
          {.backend = "cuda", .name = "generated", .prepare = prepare_elementwise_cuda}};
}

Types infer_cast(std::span<const TensorType> in, const Attrs& attrs) {
  return {{dtype_from_name(attrs.text("dtype")).value(), in[0].shape}};
}
std::vector<Tensor> cast_vjp(const OpRecord& r, std::span<const Tensor> gs) {
  return {cast(gs[0], r.inputs[0].dtype())};
}
std::vector<OpCase> cast_cases() {
  return {{.inputs = {{DType::u8, {3, 37}}}, .attrs = {{"dtype", "f32"}}},
          {.inputs = {{DType::f32, {5, 3}}}, .attrs = {{"dtype", "f64"}}},
          {.inputs = {{DType::boolean, {0, 3}}}, .attrs = {{"dtype", "f32"}}},
          {.inputs = {{DType::i64, {1029}}}, .attrs = {{"dtype", "i32"}}},
          {.inputs = {{DType::f32, {3, 67}}}, .attrs = {{"dtype", "f16"}}},
          {.inputs = {{DType::bf16, {131}}}, .attrs = {{"dtype", "f16"}}},
          {.inputs = {{DType::f16, {5, 1, 2}}}, .attrs = {{"dtype", "bf16"}}},
          {.inputs = {{DType::bf16, {7}}}, .attrs = {{"dtype", "f32"}}}};
}

Types infer_full(std::span<const TensorType>, const Attrs& attrs) {
  return {{dtype_from_name(attrs.text("dtype")).value(), Shape(attrs.integers("shape"))}};
}

std::vector<OpCase> full_cases() {
  auto of = [](std::vector<int64_t> shape, double value, const char* dtype) {
    return Attrs{{"shape", std::move(shape)}, {"value", value}, {"dtype", dtype}};
  };
  return {{.inputs = {}, .attrs = of({}, 0.5, "f32")},
          {.inputs = {}, .attrs = of({3, 700}, -2, "f32")},
          {.inputs = {}, .attrs = of({0, 3}, 1, "i64")},
          {.inputs = {}, .attrs = of({9}, 1, "bool")}};
}

Types infer_fused(std::span<const TensorType> in, const Attrs& attrs) {
  Shape shape{std::span(attrs.integers("shape"))};
  for (const TensorType& type : in)
    if (broadcast_shapes(shape, type.shape) != shape)
      throw Error(ErrorCode::kUsage, {.what = "an operand of a fused region is larger than its results",
                                      .got = to_string(type.shape),
                                      .expected = to_string(shape)});
  Types types;
  std::istringstream names(attrs.text("outputs"));
  for (std::string word; names >> word;) types.push_back({dtype_from_name(word).value(), shape});
  return types;
}
std::vector<OpCase> fused_cases() {
  auto of = [](std::vector<int64_t> shape, const char* outputs, const char* program) {
    return Attrs{{"shape", std::move(shape)}, {"outputs", outputs}, {"program", program}};
  };
  // A bias and an activation, two results of which one is bool, and a select between broadcast operands.
  return {{.inputs = {{DType::f32, {5, 7}}, {DType::f32, {7}}},
           .attrs = of({5, 7}, "f32", "f32 2 | 0.5 | mul 0 2; add 3 1; relu 4 | 5"),
           .distinct = true},
          {.inputs = {{DType::f32, {9, 211}}, {DType::f32, {9, 1}}, {DType::f32, {}}},
           .attrs = of({9, 211}, "f32 bool", "f32 3 | | sub 0 1; mul 3 2; greater 4 0; tanh 4 | 6 5"),
           .distinct = true},
          {.inputs = {{DType::boolean, {3, 1, 5}}, {DType::f32, {4, 1}}, {DType::f32, {3, 4, 5}}},
           .attrs = of({3, 4, 5}, "f32", "f32 3 | 2 -1 | where 0 1 2; mul 5 3; add 6 4; square 7 | 8"),
           .distinct = true},
          // A product that is stored in bf16 and computed with as it is stored.
          {.inputs = {{DType::bf16, {9, 212}}, {DType::bf16, {9, 1}}},
           .attrs = of({9, 212}, "bf16 f32", "f32 2 | 0.5 | mul.bf16 0 1; add 3 2 | 3 4"),
           .distinct = true}};
}
double fused_flops(const KernelRequest& request) {
  auto program = parse_elementwise_program(request.attrs.text("program"));
  return static_cast<double>(program.instructions.size()) *
         static_cast<double>(request.outputs[0].shape.numel());
}

}  // namespace

constexpr const char* kTwo = "x [...], y [...] -> [...]";

#define UNARY(op, domain, expression, dx)              \
  const OpDef k_##op{.name = #op,                      \
                     .doc = #expression,               \
                     .operands = {"x"},                \
                     .shapes = "x [...] -> [...]",     \
                     .infer = infer_same<domain>,      \
                     .vjp = op##_vjp,                  \
                     .gradient = gradient_text({#dx}), \
                     .cases = op##_cases,              \
                     .kernels = kernels(),             \
                     .elementwise = true};             \
  Tensor op(const Tensor& x) { return apply1(k_##op, {x}); }
#define FUNCTIONS2(op)                                                                       \
  Tensor op(const Tensor& x, const Tensor& y) { return apply1(k_##op, {x, y}); }             \
  Tensor op(const Tensor& x, double y) { return apply1(k_##op, {x, scalar(y, x.dtype())}); } \
  Tensor op(double x, const Tensor& y) { return apply1(k_##op, {scalar(x, y.dtype()), y}); }
#define BINARY(op, domain, expression, dx, dy)              \
  const OpDef k_##op{.name = #op,                           \
                     .doc = #expression,                    \
                     .operands = {"x", "y"},                \
                     .shapes = kTwo,                        \
                     .infer = infer_same<domain>,           \
                     .vjp = op##_vjp,                       \
                     .gradient = gradient_text({#dx, #dy}), \
                     .cases = op##_cases,                   \
                     .kernels = kernels(),                  \
                     .elementwise = true};                  \
  FUNCTIONS2(op)
#define COMPARE(op, domain, expression)              \
  const OpDef k_##op{.name = #op,                    \
                     .doc = #expression,             \
                     .operands = {"x", "y"},         \
                     .shapes = kTwo,                 \
                     .infer = infer_compare<domain>, \
                     .cases = op##_cases,            \
                     .kernels = kernels(),           \
                     .elementwise = true};           \
  FUNCTIONS2(op)
#define TERNARY(op, domain, expression, dx, dy, dz)                                                  \
  const OpDef k_##op{.name = #op,                                                                    \
                     .doc = #expression,                                                             \
                     .operands = {"x", "y", "z"},                                                    \
                     .shapes = "x [...], y [...], z [...] -> [...]",                                 \
                     .infer = infer_where<domain>,                                                   \
                     .vjp = op##_vjp,                                                                \
                     .gradient = gradient_text({#dx, #dy, #dz}),                                     \
                     .cases = op##_cases,                                                            \
                     .kernels = kernels(),                                                           \
                     .elementwise = true};                                                           \
  Tensor op(const Tensor& x, const Tensor& y, const Tensor& z) { return apply1(k_##op, {x, y, z}); } \
  Tensor op(const Tensor& x, const Tensor& y, double z) {                                            \
    return apply1(k_##op, {x, y, scalar(z, y.dtype())});                                             \
  }                                                                                                  \
  Tensor op(const Tensor& x, double y, const Tensor& z) {                                            \
    return apply1(k_##op, {x, scalar(y, z.dtype()), z});                                             \
  }
#include "wholestep/ops/elementwise_table.inc"
#undef UNARY
#undef BINARY
#undef COMPARE
#undef TERNARY

const OpDef k_cast{.name = "cast",
                   .doc = "x converted to attribute dtype; bool is x != 0",
                   .operands = {"x"},
                   .shapes = "x [...] -> [...]",
                   .infer = infer_cast,
                   .vjp = cast_vjp,
                   .gradient = "dx = cast(g)",
                   .cases = cast_cases,
                   .kernels = kernels(),
                   .elementwise = true,
                   .takes_half = true};
const OpDef k_full{.name = "full",
                   .doc = "a tensor of attributes shape and dtype, every element `value`",
                   .operands = {},
                   .shapes = "-> [shape...]",
                   .infer = infer_full,
                   .cases = full_cases,
                   .kernels = kernels(),
                   .elementwise = true};
const OpDef k_fused{.name = "fused",
                    .doc = "an element-wise region: attribute `program` over broadcast operands",
                    .operands = {},
                    .shapes = "[...], ... -> [shape...], ...",
                    .infer = infer_fused,
                    .flops = fused_flops,
                    .cases = fused_cases,
                    .kernels = kernels(),
                    .takes_half = true};

std::vector<const OpDef*> elementwise_ops() {
  return {
#define UNARY(name, ...) &k_##name,
#define BINARY UNARY
#define COMPARE UNARY
#define TERNARY UNARY
#include "wholestep/ops/elementwise_table.inc"
      &k_cast, &k_full, &k_fused};
#undef UNARY
#undef BINARY
#undef COMPARE
#undef TERNARY
}

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  return apply1(k_cast, {x}, {{"dtype", std::string(name(dtype))}});
}

Tensor full(const Shape& shape, double value, DType dtype) {
  const Attrs attrs = full_attrs(value, {dtype, shape});
  if (Graph* graph = Trace::current())
    return graph->tensor(graph->add_node(k_full, attrs, {}, {{dtype, shape}})[0]);
  return apply1(k_full, {}, attrs);
}

Tensor isfinite(const Tensor& x) { return equal(x - x, 0.0); }
Tensor leaky_relu(const Tensor& x, double negative_slope) {
  return rounded_once(x, [=](const Tensor& w) { return where(w > 0.0, w, w * negative_slope); });
}
Tensor gelu(const Tensor& x) {
  return rounded_once(x, [](const Tensor& w) { return w * 0.5 * (1.0 + erf(w * 0.70710678118654752)); });
}
Tensor silu(const Tensor& x) {
  return rounded_once(x, [](const Tensor& w) { return w * sigmoid(w); });
}

}  // namespace wholestep
