// batch_norm and its gradient: inference, rules and cases. Letters of the formulas: m elements a channel,
// s = 1 / sqrt(var + eps), n = (x - mean) s; sums run over all axes but the channels'.
#include "wholestep/ops/batch_norm.h"

#include <fmt/format.h>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/batch_norm_cpu.h"
#include "wholestep/ops/batch_norm_cuda.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/registry.h"
#include "wholestep/ops/shape.h"

namespace wholestep {
namespace {

void check(std::span<const TensorType> in, std::initializer_list<size_t> channel_operands) {
  const Shape& x = in[0].shape;
  if (!is_floating(in[0].dtype) || x.rank() < 2 || x.numel() == 0)
    throw Error(ErrorCode::kUsage,
                {.what = "batch norm needs a floating-point batch with elements in every channel",
                 .got = to_string(in[0]),
                 .expected = "[N, C, ...]"});
  for (size_t i : channel_operands)
    if (in[i].shape != Shape{x[1]} || widened(in[i].dtype) != widened(in[0].dtype))
      throw Error(
          ErrorCode::kUsage,
          {.what = "batch norm is made for another number of channels than its input has, or another dtype",
           .got = fmt::format("{} for input {}", to_string(in[i]), to_string(in[0])),
           .expected = to_string(TensorType{in[0].dtype, {x[1]}}),
           .hint = "num_features is the channel count of the layer before"});
}

/// (x, gamma, beta) -> y, mean, var.
Types infer(std::span<const TensorType> in, const Attrs&) {
  check(in, {1, 2});
  TensorType statistic = {widened(in[1].dtype), in[1].shape};
  return {in[0], statistic, statistic};
}
/// (x, gamma, mean, var, g) -> dx, dgamma, dbeta.
Types infer_dx(std::span<const TensorType> in, const Attrs&) {
  check(in, {1, 2, 3});
  if (in[4] != in[0])
    throw Error(ErrorCode::kUsage, {.what = "the gradient of batch norm has another type than its result",
                                    .got = to_string(in[4]),
                                    .expected = to_string(in[0])});
  return {in[0], in[1], in[1]};
}

/// [C] as [C, 1, ...], to broadcast over x.
Tensor per_channel(const Tensor& t, const Tensor& x) {
  Shape shape = {t.dim(0)};
  for (int axis = 2; axis < x.rank(); ++axis) shape.push_back(1);
  return reshape(t, shape);
}
Tensor sum_channels(const Tensor& t) {
  std::vector<int64_t> axes;
  for (int axis = 0; axis < t.rank(); ++axis)
    if (axis != 1) axes.push_back(axis);
  return sum(t, axes);
}
double elements_of(const Tensor& x) { return static_cast<double>(x.numel()) / static_cast<double>(x.dim(1)); }

std::vector<Tensor> batch_norm_dx(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& var,
                                  const Tensor& g, const Attrs& attrs);

std::vector<Tensor> vjp(const OpRecord& r, std::span<const Tensor> g) {
  const Tensor &x = r.inputs[0], &mean = r.outputs[1], &var = r.outputs[2];
  std::vector<Tensor> grads(3);
  if (g[0].defined()) grads = batch_norm_dx(x, r.inputs[1], mean, var, g[0], r.attrs);
  auto add = [&](const Tensor& more) {
    grads[0] = grads[0].defined() ? grads[0] + more : expand(more, x.shape());
  };
  if (g[1].defined()) add(per_channel(g[1], x) * (1 / elements_of(x)));
  if (g[2].defined()) add(per_channel(g[2] * (2 / elements_of(x)), x) * (x - per_channel(mean, x)));
  return grads;
}

// With B = sum g, G = sum g n, H = sum h, K = sum h n, P = sum h g for the cotangents h of dx, a of dgamma, b
// of dbeta, the three results paired with them are
//   gamma s (P - H B / m - K G / m) + a G + b B
// a function of gamma, s, n and g, differentiated by each; then n and s by x, mean and var.
std::vector<Tensor> dx_vjp(const OpRecord& r, std::span<const Tensor> gs) {
  const Tensor &x = r.inputs[0], &gamma = r.inputs[1], &mean = r.inputs[2], &var = r.inputs[3],
               &g = r.inputs[4];
  auto wide = [&](const Tensor& t) { return per_channel(t, x); };
  double m = elements_of(x);
  Tensor s = rsqrt(var + r.attrs.number("eps")), centred = x - wide(mean), n = centred * wide(s);
  auto or_zeros = [&](size_t i) {
    return gs[i].defined() ? gs[i] : full(r.outputs[i].shape(), 0, x.dtype());
  };
  Tensor h = or_zeros(0), a = or_zeros(1), b = or_zeros(2);
  Tensor B = sum_channels(g), G = sum_channels(g * n), H = sum_channels(h), K = sum_channels(h * n),
         P = sum_channels(h * g), inner = P - (H * B + K * G) * (1 / m), scale = gamma * s;
  Tensor dn = g * wide(a - scale * K * (1 / m)) - h * wide(scale * G * (1 / m));
  Tensor ds = gamma * inner + sum_channels(dn * centred);
  Tensor dg = (h - wide(H * (1 / m)) - n * wide(K * (1 / m))) * wide(scale) + n * wide(a) + wide(b);
  return {dn * wide(s), s * inner, -s * sum_channels(dn), ds * -0.5 * s * s * s, dg};
}

double batch_norm_flops(const KernelRequest& request) {
  return 8.0 * static_cast<double>(request.inputs[0].shape.numel());
}

std::vector<Shape> shapes() {
  return {{4, 1}, {7, 13}, {3, 2, 5, 7}, {9, 5, 4, 4}, {1, 3, 6, 6}, {2, 3, 11}, {19, 2, 33, 3}};
}
std::vector<OpCase> cases() {
  std::vector<OpCase> cases;
  for (const Shape& x : shapes())
    cases.push_back({.inputs = {{DType::f32, x}, {DType::f32, {x[1]}}, {DType::f32, {x[1]}}},
                     .attrs = {{"eps", 1e-5}},
                     .distinct = true});
  return cases;
}
std::vector<OpCase> dx_cases() {
  std::vector<OpCase> cases;
  for (const Shape& x : shapes()) {
    TensorType channel = {DType::f32, {x[1]}};
    cases.push_back({.inputs = {{DType::f32, x}, channel, channel, channel, {DType::f32, x}},
                     .attrs = {{"eps", 1e-5}},
                     .low = 0.5,  // variances are positive
                     .high = 2});
  }
  return cases;
}

const OpDef k_batch_norm{
    .name = "batch_norm",
    .doc =
        "(x - mean) / sqrt(var + eps) * gamma + beta with the batch's mean and biased variance, also given "
        "(Ioffe & Szegedy 2015)",
    .operands = {"x", "gamma", "beta"},
    .shapes = "x [N, C, ...], gamma [C], beta [C] -> [N, C, ...], [C], [C]",
    .infer = infer,
    .vjp = vjp,
    .gradient =
        "dx = s gamma (g - (sum(g) + n sum(g n)) / m) + (g1 + 2 g2 (x - mean)) / m, dgamma = sum(g n), dbeta "
        "= sum(g); s = 1 / sqrt(var + eps), n = s (x - mean), m elements a channel",
    .flops = batch_norm_flops,
    .cases = cases,
    .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_batch_norm},
                {.backend = "cuda", .name = "parts", .prepare = prepare_batch_norm_cuda}}};
const OpDef k_batch_norm_dx{
    .name = "batch_norm_dx",
    .doc = "gradients of batch_norm's x, gamma and beta from that of its y",
    .operands = {"x", "gamma", "mean", "var", "g"},
    .shapes = "x [N, C, ...], gamma [C], mean [C], var [C], g [N, C, ...] -> [N, C, ...], [C], [C]",
    .infer = infer_dx,
    .vjp = dx_vjp,
    .gradient = "dx, dgamma, dmean, dvar, dg: the derivatives of the dx, dgamma and dbeta of batch_norm",
    .flops = batch_norm_flops,
    .cases = dx_cases,
    .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_batch_norm_dx},
                {.backend = "cuda", .name = "parts", .prepare = prepare_batch_norm_dx_cuda}}};

std::vector<Tensor> batch_norm_dx(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& var,
                                  const Tensor& g, const Attrs& attrs) {
  return apply(k_batch_norm_dx, {x, gamma, mean, var, g}, attrs);
}

}  // namespace

std::vector<const OpDef*> batch_norm_ops() { return {&k_batch_norm, &k_batch_norm_dx}; }

BatchNormResult batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  std::vector<Tensor> results = apply(k_batch_norm, {x, gamma, beta}, {{"eps", eps}});
  return {results[0], results[1], results[2]};
}

Tensor batch_norm_with(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                       const Tensor& var, double eps) {
  Types types;
  for (const Tensor* t : {&x, &gamma, &beta, &mean, &var}) types.push_back(t->type());
  try {
    check(types, {1, 2, 3, 4});
  } catch (const Error& error) {
    throw Scope::path().empty() ? error : error.within(Scope::path());
  }
  return rounded_once(x, [&](const Tensor& wide) {
    Tensor scale = widened(gamma) * rsqrt(widened(var) + eps);
    return (wide - per_channel(widened(mean), x)) * per_channel(scale, x) + per_channel(widened(beta), x);
  });
}

}  // namespace wholestep
