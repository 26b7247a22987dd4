// Losses over the library's ops.
#include "wholestep/nn/loss.h"

#include <fmt/format.h>

#include "wholestep/base/suggest.h"
#include "wholestep/nn/activations.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/softmax.h"

namespace wholestep::nn {
namespace {

Tensor squared_error(const Tensor& output, const Tensor& target) {
  if (output.type() != target.type() || output.rank() < 1)
    throw Error(ErrorCode::kUsage,
                {.what = "the squared error needs output and target of one shape and dtype",
                 .where = Scope::source(),
                 .got = to_string(output.type()) + " and " + to_string(target.type()),
                 .hint = "reshape() or cast() the target to the output's type"});
  return square(output - target);
}

}  // namespace

Tensor Loss::operator()(const Tensor& output, const Tensor& target) const {
  return mean(per_sample(output, target));
}

Tensor CrossEntropyLoss::per_sample(const Tensor& output, const Tensor& target) const {
  return cross_entropy_losses(output, target);
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

Tensor MSELoss::per_sample(const Tensor& output, const Tensor& target) const {
  Tensor errors = squared_error(output, target);
  return errors.rank() == 1 ? errors : mean(flatten(errors, 1), {1});
}

Tensor mse_loss(const Tensor& output, const Tensor& target) { return mean(squared_error(output, target)); }

std::vector<std::unique_ptr<Loss>> all_losses() {
  std::vector<std::unique_ptr<Loss>> losses;
  losses.push_back(std::make_unique<CrossEntropyLoss>());
  losses.push_back(std::make_unique<MSELoss>());
  return losses;
}

std::unique_ptr<Loss> make_loss(const std::string& name) {
  std::vector<std::string> names;
  for (auto& loss : all_losses()) {
    if (loss->name() == name) return std::move(loss);
    names.emplace_back(loss->name());
  }
  throw Error(ErrorCode::kBadConfig,
              {.what = fmt::format("no loss is called '{}'", name), .hint = suggest(name, names)});
}

}  // namespace wholestep::nn
