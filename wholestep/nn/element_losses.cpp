// Formulas of elements, written so that values and gradients are right at the ends of the range of logits.
#include "wholestep/nn/element_losses.h"

#include <fmt/format.h>

#include "wholestep/nn/activations.h"
#include "wholestep/nn/linear.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep::nn {
namespace {

/// log(1 + exp(-x)). The halves meet so that the derivative at 0 is -1/2, which those of |x| and max(x, 0)
/// would not give.
Tensor softplus_of_negative(const Tensor& x) {
  Tensor positive = x >= 0.0;
  return log1p(exp(-where(positive, x, -x))) + where(positive, 0.0, -x);
}

/// max(log(p), -100) with a derivative of 1 / max(p, 1e-12).
Tensor clamped_log(const Tensor& p) {
  Tensor tiny = p < 1e-12;
  Tensor below = stop_gradient(maximum(log(p), -100.0)) + (p - stop_gradient(p)) * 1e12;
  return where(tiny, below, log(where(tiny, 1.0, p)));
}

void check_probabilities(const Tensor& p) {
  if (p.symbolic()) return;
  Tensor host = p.to_host();
  for (int64_t i = 0; i < p.numel(); ++i) {
    double value = visit(p.dtype(), [&](auto zero) {
      return static_cast<double>(host.data<decltype(zero)>()[static_cast<size_t>(i)]);
    });
    if (!(value >= 0 && value <= 1))
      throw Error(ErrorCode::kUsage, {.what = "the loss bce takes probabilities",
                                      .where = fmt::format("output[{}]", i),
                                      .got = fmt::format("{}", value),
                                      .expected = "0 to 1",
                                      .hint = "bce-with-logits takes logits"});
  }
}

void refuse_sigmoid(const Module& model, std::string_view loss) {
  const Module& last = model.last();
  if (last.type() == SigmoidConfig::kType)
    throw Error(ErrorCode::kBadConfig,
                {.what = fmt::format("the model ends in Sigmoid, and {} applies sigmoid itself", loss),
                 .where = last.source(),
                 .expected = "a last layer that gives logits",
                 .hint = "remove the Sigmoid, or use bce"});
}

}  // namespace

ConfigFields MSEConfig::fields() { return {reduction_field(reduction)}; }
Tensor MSELoss::unreduced(const Tensor& output, const Tensor& target) const {
  check_same_type(name(), output, target);
  return square(output - target);
}

ConfigFields L1Config::fields() { return {reduction_field(reduction)}; }
Tensor L1Loss::unreduced(const Tensor& output, const Tensor& target) const {
  check_same_type(name(), output, target);
  return abs(output - target);
}

ConfigFields SmoothL1Config::fields() {
  return {{"beta", &beta, "distance at which the square ends; 0: everywhere l1", {.min = 0}},
          reduction_field(reduction)};
}
Tensor SmoothL1Loss::unreduced(const Tensor& output, const Tensor& target) const {
  check_same_type(name(), output, target);
  double beta = config().beta;
  Tensor distance = abs(output - target);
  if (beta == 0) return distance;
  return where(distance < beta, square(distance) * (0.5 / beta), distance - 0.5 * beta);
}

ConfigFields HuberConfig::fields() {
  return {{"delta", &delta, "distance at which the square ends", {.min = 0}}, reduction_field(reduction)};
}
std::vector<std::string> HuberConfig::problems() const {
  if (delta == 0) return {"'delta' must be above 0"};
  return {};
}
Tensor HuberLoss::unreduced(const Tensor& output, const Tensor& target) const {
  check_same_type(name(), output, target);
  double delta = config().delta;
  Tensor distance = abs(output - target);
  return where(distance <= delta, square(distance) * 0.5, (distance - 0.5 * delta) * delta);
}

ConfigFields BCEConfig::fields() { return {reduction_field(reduction)}; }
Tensor BCELoss::unreduced(const Tensor& output, const Tensor& target) const {
  check_same_type(name(), output, target);
  check_probabilities(output);
  return -(target * clamped_log(output) + (1.0 - target) * clamped_log(1.0 - output));
}

void BCELoss::check(const Module& model) const {
  const Module& last = model.last();
  if (last.type() == LinearConfig::kType)
    throw Error(ErrorCode::kBadConfig, {.what = "the model ends in Linear, and bce takes probabilities",
                                        .where = last.source(),
                                        .expected = "a last layer that gives numbers from 0 to 1",
                                        .hint = "use bce-with-logits, or add a Sigmoid"});
}

ConfigFields BCEWithLogitsConfig::fields() {
  return {
      {"pos_weight", &pos_weight, "of targets 1, one for all columns or one a column; empty: 1", {.min = 0}},
      reduction_field(reduction)};
}
Tensor BCEWithLogitsLoss::unreduced(const Tensor& output, const Tensor& target) const {
  check_same_type(name(), output, target);
  const std::vector<double>& weights = config().pos_weight;
  Tensor of_negative = softplus_of_negative(output), rest = (1.0 - target) * output;
  if (weights.empty()) return rest + of_negative;
  int64_t count = static_cast<int64_t>(weights.size());
  if (count != 1 && count != output.dim(-1))
    throw Error(ErrorCode::kUsage, {.what = "pos_weight needs one weight, or one a column of the output",
                                    .got = fmt::format("{} weights", count),
                                    .expected = fmt::format("{}", output.dim(-1))});
  Tensor weight = cast(tensor(weights, {count}), output.dtype());
  return rest + (1.0 + (weight - 1.0) * target) * of_negative;
}
void BCEWithLogitsLoss::check(const Module& model) const { refuse_sigmoid(model, name()); }

ConfigFields FocalConfig::fields() {
  return {{"alpha", &alpha, "weight of targets 1 beside 1 - alpha of targets 0; negative: none", {.max = 1}},
          {"gamma", &gamma, "how much less what is right already counts", {.min = 0}},
          reduction_field(reduction)};
}
Tensor FocalLoss::unreduced(const Tensor& output, const Tensor& target) const {
  check_same_type(name(), output, target);
  const FocalConfig& c = config();
  Tensor entropy = (1.0 - target) * output + softplus_of_negative(output), p = sigmoid(output);
  Tensor wrong = p + target - 2.0 * (p * target);  // 1 - p_t
  Tensor loss = entropy * pow(wrong, c.gamma);
  return c.alpha < 0 ? loss : loss * ((1 - c.alpha) + (2 * c.alpha - 1) * target);
}
void FocalLoss::check(const Module& model) const { refuse_sigmoid(model, name()); }

ConfigFields KLDivConfig::fields() {
  return {{"log_target", &log_target, "targets are log-probabilities"},
          {"reduction", &reduction, "of the losses of a batch", {}, {"mean", "batchmean", "sum", "none"}}};
}
Tensor KLDivLoss::unreduced(const Tensor& output, const Tensor& target) const {
  check_same_type(name(), output, target);
  if (config().log_target) return exp(target) * (target - output);
  Tensor some = target > 0.0;
  return where(some, target * (log(where(some, target, 1.0)) - output), 0.0);
}

ConfigFields HingeEmbeddingConfig::fields() {
  return {{"margin", &margin, "distance from which targets -1 cost nothing"}, reduction_field(reduction)};
}
Tensor HingeEmbeddingLoss::unreduced(const Tensor& output, const Tensor& target) const {
  check_same_type(name(), output, target);
  return where(equal(target, 1.0), output, relu(config().margin - output));
}
Tensor HingeEmbeddingLoss::target_of(const Tensor& labels, const Tensor& output) const {
  return one_hot_like(labels, output) * 2.0 - 1.0;
}

}  // namespace wholestep::nn
