// softmax, log_softmax, cross_entropy and their gradients: inference, rules and cases.
#include "wholestep/ops/softmax.h"

#include <fmt/format.h>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/registry.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/softmax_cpu.h"
#include "wholestep/ops/softmax_cuda.h"

namespace wholestep {
namespace {

Types infer_last_axis(std::span<const TensorType> in, const Attrs&) {
  if (!is_floating(in[0].dtype) || in[0].shape.rank() < 1)
    throw Error(ErrorCode::kUsage, {.what = "softmax takes a floating-point tensor of at least one axis",
                                    .got = to_string(in[0])});
  return {in[0]};
}

std::vector<Tensor> softmax_vjp(const OpRecord& r, std::span<const Tensor> g) {
  const Tensor& y = r.outputs[0];
  return {y * (g[0] - sum(g[0] * y, {-1}, true))};
}
std::vector<Tensor> log_softmax_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {g[0] - exp(r.outputs[0]) * sum(g[0], {-1}, true)};
}

std::vector<OpCase> softmax_cases() {
  return {{.inputs = {{DType::f32, {1}}}},
          {.inputs = {{DType::f32, {7, 10}}}},
          {.inputs = {{DType::f32, {3, 5, 37}}}, .low = -30, .high = 30},
          {.inputs = {{DType::f32, {0, 4}}}}};
}

// cross_entropy
bool is_label_type(DType dtype) { return dtype == DType::u8 || dtype == DType::i32 || dtype == DType::i64; }

void check_operands(const TensorType& logits, const TensorType& labels) {
  if (!is_floating(logits.dtype) || logits.shape.rank() != 2 || logits.shape[1] < 1)
    throw Error(ErrorCode::kUsage,
                {.what = "cross-entropy needs floating-point logits of two axes",
                 .got = to_string(logits),
                 .expected = "[N, C]",
                 .hint = "flatten the model's output to one row of class scores a sample"});
  if (!is_label_type(labels.dtype))
    throw Error(ErrorCode::kUsage, {.what = "cross-entropy needs integer class labels",
                                    .got = to_string(labels),
                                    .expected = "u8, i32 or i64 [N]",
                                    .hint = "cast() them, or use nn::MSELoss for real-valued targets"});
  if (labels.shape != Shape{logits.shape[0]})
    throw Error(ErrorCode::kUsage, {.what = "cross-entropy needs one label a sample",
                                    .got = to_string(labels.shape),
                                    .expected = fmt::format("[{}]", logits.shape[0])});
}

/// (logits, labels) -> losses [N].
Types infer_cross_entropy(std::span<const TensorType> in, const Attrs&) {
  check_operands(in[0], in[1]);
  return {{in[0].dtype, {in[0].shape[0]}}};
}
/// (logits, labels, gradient of losses [N]) -> gradient of logits.
Types infer_cross_entropy_dx(std::span<const TensorType> in, const Attrs&) {
  check_operands(in[0], in[1]);
  if (in[2] != TensorType{in[0].dtype, in[1].shape})
    throw Error(ErrorCode::kUsage, {.what = "the gradient of the losses has another type than the losses",
                                    .got = to_string(in[2]),
                                    .expected = to_string(TensorType{in[0].dtype, in[1].shape})});
  return {in[0]};
}

/// (logits, labels) -> losses [N], gradient of logits where that of every loss is attribute g.
Types infer_cross_entropy_with_dx(std::span<const TensorType> in, const Attrs& attrs) {
  return {infer_cross_entropy(in, attrs)[0], in[0]};
}

Tensor cross_entropy_dx(const Tensor& logits, const Tensor& labels, const Tensor& g);

std::vector<Tensor> cross_entropy_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {cross_entropy_dx(r.inputs[0], r.inputs[1], g[0]), Tensor()};
}

/// out = g (p - one_hot(labels)) with p = softmax(logits), so for a cotangent h of out
/// dlogits = g p (h - sum(h p)) and dg = sum(h (p - one_hot)).
std::vector<Tensor> cross_entropy_dx_vjp(const OpRecord& r, std::span<const Tensor> gs) {
  const Tensor &logits = r.inputs[0], &labels = r.inputs[1], &g = r.inputs[2], &h = gs[0];
  Tensor p = softmax(logits), g_column = reshape(g, {g.dim(0), 1});
  return {g_column * p * (h - sum(h * p, {1}, true)), Tensor(),
          sum(h * cross_entropy_dx(logits, labels, full(g.shape(), 1, g.dtype())), {1})};
}

std::vector<OpCase> cross_entropy_cases() {
  return {{.inputs = {{DType::f32, {5, 3}}, {DType::i64, {5}}}},
          {.inputs = {{DType::f32, {1, 7}}, {DType::u8, {1}}}},
          {.inputs = {{DType::f32, {33, 11}}, {DType::i32, {33}}}, .low = -20, .high = 20}};
}
std::vector<OpCase> cross_entropy_dx_cases() {
  std::vector<OpCase> cases = cross_entropy_cases();
  for (OpCase& c : cases) c.inputs.push_back({c.inputs[0].dtype, c.inputs[1].shape});
  return cases;
}

std::vector<OpCase> cross_entropy_with_dx_cases() {
  std::vector<OpCase> cases = cross_entropy_cases();
  cases.push_back({.inputs = {{DType::f32, {3, 1100}}, {DType::i32, {3}}}, .bound = 1100});
  for (OpCase& c : cases) c.attrs.set({"g", 0.03125});
  return cases;
}

double softmax_flops(const KernelRequest& q) { return 4.0 * static_cast<double>(q.inputs[0].shape.numel()); }

const OpDef k_softmax{.name = "softmax",
                      .doc = "exp(x) / sum exp(x) over the last axis",
                      .operands = {"x"},
                      .shapes = "x [..., C] -> [..., C]",
                      .infer = infer_last_axis,
                      .vjp = softmax_vjp,
                      .gradient = "dx = out * (g - sum(g * out))",
                      .flops = softmax_flops,
                      .cases = softmax_cases,
                      .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_softmax},
                                  {.backend = "cuda", .name = "rows", .prepare = prepare_softmax_cuda}}};
const OpDef k_log_softmax{
    .name = "log_softmax",
    .doc = "x - log sum exp(x) over the last axis",
    .operands = {"x"},
    .shapes = "x [..., C] -> [..., C]",
    .infer = infer_last_axis,
    .vjp = log_softmax_vjp,
    .gradient = "dx = g - softmax(x) * sum(g)",
    .flops = softmax_flops,
    .cases = softmax_cases,
    .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_log_softmax},
                {.backend = "cuda", .name = "rows", .prepare = prepare_log_softmax_cuda}}};
const OpDef k_cross_entropy{
    .name = "cross_entropy",
    .doc = "loss[n] = log sum exp(logits[n]) - logits[n, labels[n]]",
    .operands = {"logits", "labels"},
    .shapes = "logits [N, C], labels [N] -> [N]",
    .infer = infer_cross_entropy,
    .vjp = cross_entropy_vjp,
    .gradient = "dlogits = cross_entropy_dx(logits, labels, g)",
    .flops = softmax_flops,
    .cases = cross_entropy_cases,
    .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_cross_entropy},
                {.backend = "cuda", .name = "rows", .prepare = prepare_cross_entropy_cuda}}};
const OpDef k_cross_entropy_dx{
    .name = "cross_entropy_dx",
    .doc = "g[n] * (softmax(logits[n]) - one_hot(labels[n]))",
    .operands = {"logits", "labels", "g"},
    .shapes = "logits [N, C], labels [N], g [N] -> [N, C]",
    .infer = infer_cross_entropy_dx,
    .vjp = cross_entropy_dx_vjp,
    .gradient = "dlogits = g p (h - sum(h p)), dg = sum(h (p - one_hot(labels))), p = softmax(logits)",
    .flops = softmax_flops,
    .cases = cross_entropy_dx_cases,
    .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_cross_entropy_dx},
                {.backend = "cuda", .name = "rows", .prepare = prepare_cross_entropy_dx_cuda}}};

const OpDef k_cross_entropy_with_dx{
    .name = "cross_entropy_with_dx",
    .doc = "cross_entropy, and cross_entropy_dx where the gradient of every loss is attribute g",
    .operands = {"logits", "labels"},
    .shapes = "logits [N, C], labels [N] -> [N], [N, C]",
    .infer = infer_cross_entropy_with_dx,
    .flops = softmax_flops,
    .cases = cross_entropy_with_dx_cases,
    .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_cross_entropy_with_dx},
                {.backend = "cuda", .name = "rows", .prepare = prepare_cross_entropy_with_dx_cuda}}};

Tensor cross_entropy_dx(const Tensor& logits, const Tensor& labels, const Tensor& g) {
  return apply1(k_cross_entropy_dx, {logits, labels, g});
}

/// Runs a last-axis op along any axis by moving that axis to the end and back.
Tensor along(const OpDef& op, const Tensor& x, int64_t axis) {
  int at = normalize_axis(axis, x.rank()), last = x.rank() - 1;
  if (at == last) return apply1(op, {x});
  std::vector<int64_t> order;
  for (int i = 0; i < x.rank(); ++i) order.push_back(i == at ? last : i == last ? at : i);
  return permute(apply1(op, {permute(x, order)}), order);
}

}  // namespace

std::vector<const OpDef*> softmax_ops() {
  return {&k_softmax, &k_log_softmax, &k_cross_entropy, &k_cross_entropy_dx, &k_cross_entropy_with_dx};
}

Tensor softmax(const Tensor& x, int64_t axis) { return along(k_softmax, x, axis); }
Tensor log_softmax(const Tensor& x, int64_t axis) { return along(k_log_softmax, x, axis); }

void check_class_labels(const Tensor& labels, int64_t classes) {
  if (labels.symbolic()) return;
  Tensor host = labels.to_host();
  for (int64_t n = 0; n < labels.numel(); ++n) {
    int64_t label = visit(labels.dtype(), [&](auto zero) {
      return static_cast<int64_t>(host.data<decltype(zero)>()[static_cast<size_t>(n)]);
    });
    if (label < 0 || label >= classes)
      throw Error(ErrorCode::kUsage, {.what = "class label out of range",
                                      .where = fmt::format("labels[{}]", n),
                                      .got = std::to_string(label),
                                      .expected = fmt::format("0 to {}", classes - 1)});
  }
}

Tensor cross_entropy_losses(const Tensor& logits, const Tensor& labels) {
  if (is_label_type(labels.dtype()) && logits.rank() == 2) check_class_labels(labels, logits.dim(1));
  return apply1(k_cross_entropy, {logits, labels});
}

Tensor cross_entropy(const Tensor& logits, const Tensor& labels) {
  return rounded_once(logits, [&](const Tensor& wide) { return mean(cross_entropy_losses(wide, labels)); });
}

}  // namespace wholestep
