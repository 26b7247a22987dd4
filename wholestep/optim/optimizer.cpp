// What all optimizers share: state, checks, and the order of an update.
#include "wholestep/optim/optimizer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_set>

namespace wholestep::optim {

Optimizer::Optimizer(double lr) : learning_rate_(scalar(lr, DType::f64)), step_count_(scalar(0, DType::i64)) {
  learning_rate_.set_role(TensorRole::kState, "optimizer.learning_rate");
  step_count_.set_role(TensorRole::kState, "optimizer.step");
}

void Optimizer::attach(std::vector<Tensor> parameters) {
  if (parameters.empty())
    throw Error(ErrorCode::kUsage, {.what = "an optimizer needs at least one parameter",
                                    .where = std::string(type()),
                                    .hint = "pass model.parameters(); the model may have none"});
  std::unordered_set<const Storage*> storages;
  std::unordered_set<std::string> names;
  slots_.clear();
  for (const Tensor& p : parameters) {
    if (p.role() != TensorRole::kParameter || p.name().empty())
      throw Error(ErrorCode::kUsage, {.what = "an optimizer trains parameters of a module",
                                      .got = "a tensor " + to_string(p.type()) + " without that role",
                                      .hint = "set_role(TensorRole::kParameter, name) makes it one"});
    if (!storages.insert(p.impl()->storage.get()).second || !names.insert(p.name()).second)
      throw Error(ErrorCode::kUsage, {.what = "a parameter was given to the optimizer twice",
                                      .got = fmt::format("'{}'", p.name())});
    slots_.emplace_back();
    for (const std::string& slot : slots())
      slots_.back().push_back(zeros(p.type()).set_role(TensorRole::kState, p.name() + "." + slot));
  }
  parameters_ = std::move(parameters);
  step_count_.assign(scalar(0, DType::i64));
}

Tensor Optimizer::scheduled_rate() const { return schedule_->rate(learning_rate_, step_count_); }

void Optimizer::step(std::span<const Tensor> grads) {
  if (grads.size() != parameters_.size() || parameters_.empty())
    throw Error(ErrorCode::kUsage, {.what = "an optimizer step needs one gradient a parameter",
                                    .got = fmt::format("{} gradients", grads.size()),
                                    .expected = fmt::format("{}", parameters_.size()),
                                    .hint = parameters_.empty() ? "attach(model.parameters()) first" : ""});
  NoGrad no_grad;
  Scope scope("optimizer", "");
  Tensor t = step_count_ + 1.0;
  std::vector<Tensor> shared = scalars(scheduled_rate(), cast(t, DType::f64));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& p = parameters_[i];
    if (!grads[i].defined() || grads[i].type() != p.type())
      throw Error(ErrorCode::kUsage, {.what = "a gradient does not fit its parameter",
                                      .where = p.name(),
                                      .got = grads[i].defined() ? to_string(grads[i].type()) : "none",
                                      .expected = to_string(p.type())});
    std::vector<Tensor> fresh = update(p, grads[i], slots_[i], shared);
    p.assign(fresh[0]);
    for (size_t k = 0; k < slots_[i].size(); ++k) slots_[i][k].assign(fresh[k + 1]);
  }
  step_count_.assign(t);
}

std::vector<Tensor> Optimizer::state() const {
  std::vector<Tensor> state = {step_count_, learning_rate_};
  for (const auto& slots : slots_) state.insert(state.end(), slots.begin(), slots.end());
  return state;
}

void Optimizer::write_spec(nlohmann::json&) const {
  throw Error(ErrorCode::kUsage,
              {.what = fmt::format("the optimizer {} has no form in config files", type())});
}

}  // namespace wholestep::optim
