// Reductions, and what losses share.
#include "wholestep/nn/loss.h"

#include <fmt/format.h>

#include <numeric>

#include "wholestep/graph/widen.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/linear.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/softmax.h"

namespace wholestep::nn {

Tensor Loss::operator()(const Tensor& output, const Tensor& target) const {
  if (is_half(output.dtype()) && (target.dtype() == output.dtype() || !is_floating(target.dtype())))
    return (*this)(widened(output), widened(target)).to(output.dtype());
  Tensor losses = unreduced(output, target);
  if (reduction() == "none") return losses;
  if (reduction() == "sum") return sum(losses);
  if (reduction() == "mean" && !total_weight(output, target).defined()) return mean(losses);
  return sum(losses) / divisor(losses, output, target);
}

Tensor Loss::divisor(const Tensor& losses, const Tensor& output, const Tensor& target) const {
  auto number = [&](int64_t n) { return full({}, static_cast<double>(n), losses.dtype()); };
  if (reduction() == "sum") return number(1);
  if (reduction() == "batchmean") return number(losses.dim(0));
  Tensor weight = total_weight(output, target);
  return weight.defined() ? weight : number(losses.numel());
}

Tensor Loss::per_sample(const Tensor& output, const Tensor& target) const {
  Tensor losses = unreduced(output, target);
  return losses.rank() == 1 ? losses : mean(flatten(losses, 1), {1});
}

Tensor Loss::probabilities(const Tensor& output) const { return softmax(output); }

Tensor Loss::classes(const Tensor& output) const {
  return argmax(output.dim(1) == 1 ? probabilities(output) : output, 1);
}

Tensor two_columns(const Tensor& p) { return p.dim(1) == 1 ? concat({1.0 - p, p}, 1) : p; }

ConfigField reduction_field(std::string& reduction) {
  return {"reduction", &reduction, "of the losses of a batch", {}, {"mean", "sum", "none"}};
}

Tensor class_mask(const Tensor& labels, int64_t classes) {
  std::vector<int32_t> columns(static_cast<size_t>(classes));
  std::iota(columns.begin(), columns.end(), 0);
  return equal(reshape(cast(labels, DType::i32), {labels.dim(0), 1}), tensor(columns, {1, classes}));
}

Tensor one_hot_like(const Tensor& labels, const Tensor& like) {
  if (like.dim(1) == 1) return cast(reshape(labels, {labels.dim(0), 1}), like.dtype());
  return cast(class_mask(labels, like.dim(1)), like.dtype());
}

void check_same_type(std::string_view loss, const Tensor& output, const Tensor& target) {
  if (output.type() != target.type() || output.rank() < 1 || !is_floating(output.dtype()))
    throw Error(ErrorCode::kUsage,
                {.what = fmt::format("the loss {} needs output and target of one shape and dtype", loss),
                 .where = Scope::source(),
                 .got = to_string(output.type()) + " and " + to_string(target.type()),
                 .hint = "reshape() or cast() the target to the output's type"});
}

void check_log_probabilities(std::string_view loss, const Module& model) {
  const Module& last = model.last();
  bool scores = last.type() == LinearConfig::kType;
  if (scores || last.type() == SoftmaxConfig::kType)
    throw Error(
        ErrorCode::kBadConfig,
        {.what = fmt::format("the model ends in {}, and {} takes log-probabilities", last.type(), loss),
         .where = last.source(),
         .expected = "a last layer LogSoftmax",
         .hint = scores ? "add a LogSoftmax, or use cross-entropy, which needs none"
                        : "put LogSoftmax in its place"});
}

void check_regresses(const Loss& loss) {
  if (!loss.regresses())
    throw Error(ErrorCode::kBadConfig, {.what = "the targets are numbers, and the loss is one of classes",
                                        .got = loss.description(),
                                        .expected = "mse, l1, smooth-l1 or huber",
                                        .hint = "a loss of your own says so by regresses()"});
}

std::unique_ptr<Loss> read_loss(ConfigReader& reader) { return read_typed(reader, loss_types()); }

}  // namespace wholestep::nn
