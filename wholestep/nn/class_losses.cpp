// Compositions around cross_entropy and log_softmax.
#include "wholestep/nn/class_losses.h"

#include <fmt/format.h>

#include <limits>

#include "wholestep/nn/activations.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/gather.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/softmax.h"

namespace wholestep::nn {
namespace {

ConfigField weight_field(std::vector<double>& weight) {
  return {"weight", &weight, "of each class, in order; empty: 1", {.min = 0}};
}
ConfigField ignore_field(std::optional<int64_t>& index) {
  return {"ignore_index", &index, "label of what is left out of the loss"};
}

/// [N, C, ...] -> [N * ..., C]: a row of scores a label.
Tensor rows_of(const Tensor& x) {
  if (x.rank() <= 2) return x;
  std::vector<int64_t> order = {0};
  for (int axis = 2; axis < x.rank(); ++axis) order.push_back(axis);
  order.push_back(1);
  return reshape(permute(x, order), {-1, x.dim(1)});
}

/// kUsage unless x is [N, C, ...] and labels one integer for each [N, ...].
void check_labels_fit(std::string_view loss, const Tensor& x, const Tensor& labels) {
  Shape expected;
  for (int axis = 0; axis < x.rank(); ++axis)
    if (axis != 1) expected.push_back(x.dim(axis));
  bool integers = labels.dtype() == DType::u8 || labels.dtype() == DType::i32 || labels.dtype() == DType::i64;
  if (x.rank() >= 2 && integers && labels.shape() == expected) return;
  throw Error(ErrorCode::kUsage,
              {.what = fmt::format("the loss {} needs integer class labels, one a sample", loss),
               .where = Scope::source(),
               .got = to_string(x.type()) + " and " + to_string(labels.type()),
               .expected = "floating-point [N, C, ...] and u8, i32 or i64 [N, ...]"});
}

Tensor weights_of_classes(const std::vector<double>& weight, const Tensor& x) {
  std::vector<double> all = weight;
  if (all.empty()) all.assign(static_cast<size_t>(x.dim(1)), 1);
  if (static_cast<int64_t>(all.size()) != x.dim(1))
    throw Error(ErrorCode::kUsage, {.what = "a loss needs one weight a class",
                                    .got = fmt::format("{} weights", all.size()),
                                    .expected = fmt::format("{}", x.dim(1))});
  return cast(tensor(all, {x.dim(1)}), x.dtype());
}

/// Labels flattened: which count, with 0 in place of those that do not, and their weights.
struct Labels {
  Tensor counts;   ///< bool; undefined where all do
  Tensor indices;  ///< i32 or i64
  Tensor weights;  ///< of x's dtype, NaN where a label is out of range; undefined where none are asked for

  Labels(const Tensor& labels, const Tensor& x, const std::optional<int64_t>& ignored,
         const std::vector<double>& weight, bool want_weights)
      : indices(reshape(labels.dtype() == DType::u8 ? cast(labels, DType::i32) : labels, {-1})) {
    if (ignored) {
      counts = not_equal(indices, static_cast<double>(*ignored));
      indices = where(counts, indices, 0.0);
    }
    check_class_labels(indices, x.dim(1));
    if (!weight.empty() || want_weights) weights = gather_rows(weights_of_classes(weight, x), indices);
  }
  Tensor weigh(const Tensor& losses) const {
    Tensor weighed = weights.defined() ? losses * weights : losses;
    return counts.defined() ? where(counts, weighed, 0.0) : weighed;
  }
  /// Sum of the weights of labels that count; undefined where that is their number.
  Tensor total(DType dtype) const {
    if (weights.defined()) return sum(counts.defined() ? where(counts, weights, 0.0) : weights);
    return counts.defined() ? sum(cast(counts, dtype)) : Tensor();
  }
};

/// x[n, label[n]] [N, 1]: by a mask, so that an infinity elsewhere in the row does no harm.
Tensor picked(const Tensor& x, const Tensor& indices) {
  Tensor mask = class_mask(indices, x.dim(1));
  return sum(where(mask, x, 0.0), {1}, true);
}

}  // namespace

ConfigFields CrossEntropyConfig::fields() {
  return {weight_field(weight),
          ignore_field(ignore_index),
          {"label_smoothing",
           &label_smoothing,
           "share of the target that is spread over all classes (Szegedy et al. 2016)",
           {.min = 0, .max = 1}},
          reduction_field(reduction)};
}

Tensor CrossEntropyLoss::unreduced(const Tensor& output, const Tensor& target) const {
  const CrossEntropyConfig& c = config();
  if (target.type() == output.type() && output.rank() >= 2) {
    Tensor x = rows_of(output), t = rows_of(target);
    if (c.label_smoothing > 0)
      t = t * (1 - c.label_smoothing) + c.label_smoothing / static_cast<double>(x.dim(1));
    if (!c.weight.empty()) t = t * weights_of_classes(c.weight, x);
    Tensor losses = -sum(t * log_softmax(x), {1});
    std::vector<int64_t> shape = {output.dim(0)};
    for (int axis = 2; axis < output.rank(); ++axis) shape.push_back(output.dim(axis));
    return reshape(losses, shape);
  }
  bool plain = c.weight.empty() && !c.ignore_index && c.label_smoothing == 0;
  if (plain && output.rank() == 2) return cross_entropy_losses(output, target);
  check_labels_fit(name(), output, target);
  Tensor x = rows_of(output);
  Labels labels(target, x, c.ignore_index, c.weight, false);
  Tensor losses = labels.weigh(cross_entropy_losses(x, labels.indices));
  if (c.label_smoothing > 0) {
    Tensor spread = -log_softmax(x);
    if (!c.weight.empty()) spread = spread * weights_of_classes(c.weight, x);
    Tensor smooth = mean(spread, {1});
    if (labels.counts.defined()) smooth = where(labels.counts, smooth, 0.0);
    losses = losses * (1 - c.label_smoothing) + smooth * c.label_smoothing;
  }
  return reshape(losses, target.shape());
}

Tensor CrossEntropyLoss::total_weight(const Tensor& output, const Tensor& target) const {
  if (target.type() == output.type()) return {};
  const CrossEntropyConfig& c = config();
  if (c.weight.empty() && !c.ignore_index) return {};
  return Labels(target, rows_of(output), c.ignore_index, c.weight, false).total(output.dtype());
}

void CrossEntropyLoss::check(const Module& model) const {
  const Module& last = model.last();
  if (last.type() == SoftmaxConfig::kType)
    throw Error(ErrorCode::kBadConfig,
                {.what = "the model ends in Softmax, and cross-entropy applies softmax itself",
                 .where = last.source(),
                 .expected = "a last layer that gives logits",
                 .hint = "remove the Softmax; predictions are turned into probabilities for you"});
}

ConfigFields NLLConfig::fields() {
  return {weight_field(weight), ignore_field(ignore_index), reduction_field(reduction)};
}

Tensor NLLLoss::unreduced(const Tensor& output, const Tensor& target) const {
  check_labels_fit(name(), output, target);
  Tensor x = rows_of(output);
  Labels labels(target, x, config().ignore_index, config().weight, true);
  return reshape(labels.weigh(-reshape(picked(x, labels.indices), {-1})), target.shape());
}

Tensor NLLLoss::total_weight(const Tensor& output, const Tensor& target) const {
  const NLLConfig& c = config();
  return Labels(target, rows_of(output), c.ignore_index, c.weight, false).total(output.dtype());
}

ConfigFields MultiMarginConfig::fields() {
  return {{"p", &p, "power of what is short of the margin", {.min = 1, .max = 2}},
          {"margin", &margin, "by how much the label's score is to lead"},
          weight_field(weight),
          reduction_field(reduction)};
}

Tensor MultiMarginLoss::unreduced(const Tensor& x, const Tensor& target) const {
  check_labels_fit(name(), x, target);
  const MultiMarginConfig& c = config();
  Labels labels(target, x, {}, c.weight, true);
  Tensor mask = class_mask(labels.indices, x.dim(1));
  Tensor short_by = where(mask, 0.0, relu(x - picked(x, labels.indices) + c.margin));
  return labels.weigh(mean(c.p == 1 ? short_by : square(short_by), {1}));
}

}  // namespace wholestep::nn
