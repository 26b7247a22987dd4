// What all optimizers share: state, checks, and the order of an update.
#include "wholestep/optim/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/creation.h"

namespace wholestep::optim {
namespace {

/// Whether text is pattern, where * stands for any text.
bool like(std::string_view text, std::string_view pattern) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] != '*')
    return !text.empty() && text[0] == pattern[0] && like(text.substr(1), pattern.substr(1));
  return like(text, pattern.substr(1)) || (!text.empty() && like(text.substr(1), pattern));
}

}  // namespace

Optimizer::Optimizer(double lr) : learning_rate_(scalar(lr, DType::f64)), step_count_(scalar(0, DType::i64)) {
  learning_rate_.set_role(TensorRole::kState, "optimizer.learning_rate");
  step_count_.set_role(TensorRole::kState, "optimizer.step");
}

void Optimizer::make_shared_state(const std::string& prefix) {
  learning_rate_.set_role(TensorRole::kState, prefix + "learning_rate");
  shared_.clear();
  for (const Slot& slot : shared_slots())
    shared_.push_back(scalar(slot.initial, DType::f64).set_role(TensorRole::kState, prefix + slot.name));
}

void Optimizer::add_group(std::string names, std::shared_ptr<Optimizer> own) {
  if (!own->groups_.empty())
    throw Error(ErrorCode::kUsage, {.what = "a group of parameters has no groups itself", .got = names});
  group_names_.push_back(std::move(names));
  groups_.push_back(std::move(own));
}

size_t Optimizer::member_for(const std::string& name) const {
  auto fits = std::ranges::find_if(group_names_, [&](const std::string& names) { return like(name, names); });
  return fits == group_names_.end() ? 0 : static_cast<size_t>(fits - group_names_.begin()) + 1;
}

void Optimizer::attach(std::vector<Tensor> parameters) {
  if (parameters.empty())
    throw Error(ErrorCode::kUsage, {.what = "an optimizer needs at least one parameter",
                                    .where = std::string(type()),
                                    .hint = "pass model.parameters(); the model may have none"});
  std::unordered_set<const Storage*> storages;
  std::unordered_set<std::string> names;
  slots_.clear();
  members_.clear();
  for (const Tensor& p : parameters) {
    if (p.role() != TensorRole::kParameter || p.name().empty())
      throw Error(ErrorCode::kUsage, {.what = "an optimizer trains parameters of a module",
                                      .got = "a tensor " + to_string(p.type()) + " without that role",
                                      .hint = "set_role(TensorRole::kParameter, name) makes it one"});
    if (!storages.insert(p.impl()->storage.get()).second || !names.insert(p.name()).second)
      throw Error(ErrorCode::kUsage, {.what = "a parameter was given to the optimizer twice",
                                      .got = fmt::format("'{}'", p.name())});
    members_.push_back(member_for(p.name()));
    slots_.emplace_back();
    for (const Slot& slot : member(members_.back()).slots(p)) {
      Tensor t = full_like(p, slot.initial);
      slots_.back().push_back(t.set_role(TensorRole::kState, p.name() + "." + slot.name));
    }
  }
  for (size_t i = 0; i < groups_.size(); ++i)
    if (std::ranges::find(members_, i + 1) == members_.end())
      throw Error(ErrorCode::kUsage, {.what = "a group of parameters is empty",
                                      .got = fmt::format("'{}'", group_names_[i]),
                                      .hint = "no name fits that an earlier group has not taken"});
  make_shared_state("optimizer.");
  for (size_t i = 0; i < groups_.size(); ++i)
    groups_[i]->make_shared_state(fmt::format("optimizer.groups.{}.", i));
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
  std::vector<std::vector<Tensor>> shared;  // per member
  for (size_t m = 0; m <= groups_.size(); ++m) {
    const Optimizer& by = member(m);
    shared.push_back(
        by.scalars(schedule_->rate(by.learning_rate_, step_count_), cast(t, DType::f64), by.shared_));
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& p = parameters_[i];
    if (!grads[i].defined() || grads[i].type() != p.type())
      throw Error(ErrorCode::kUsage,
                  {.what = "a gradient does not fit its parameter",
                   .where = p.name(),
                   .got = grads[i].defined() ? to_string(grads[i].type()) : "none",
                   .expected = to_string(p.type()),
                   .hint = grads[i].defined() ? ""
                                              : "a loss that does not depend on it leaves none: "
                                                "leave it out, or take grad()"});
    Tensor wide = widened(p);  // f16 and bf16 are rounded as they are stored, and nowhere before
    std::vector<Tensor> rounded;
    for (const Tensor& s : shared[members_[i]])
      rounded.push_back(s.dtype() == DType::f64 ? cast(s, wide.dtype()) : s);
    std::vector<Tensor> fresh =
        member(members_[i]).update(wide, widened(grads[i]), widened(slots_[i]), rounded);
    p.assign(cast(fresh[0], p.dtype()));
    for (size_t k = 0; k < slots_[i].size(); ++k)
      slots_[i][k].assign(cast(fresh[k + 1], slots_[i][k].dtype()));
  }
  for (size_t m = 0; m <= groups_.size(); ++m)
    for (size_t k = 0; k < member(m).shared_.size(); ++k) member(m).shared_[k].assign(shared[m][k]);
  step_count_.assign(t);
}

std::vector<Tensor> Optimizer::state() const {
  std::vector<Tensor> state = {step_count_};
  for (size_t m = 0; m <= groups_.size(); ++m) {
    state.push_back(member(m).learning_rate_);
    state.insert(state.end(), member(m).shared_.begin(), member(m).shared_.end());
  }
  for (const Tensor& t : schedule_->state()) state.push_back(t);
  for (const auto& slots : slots_) state.insert(state.end(), slots.begin(), slots.end());
  return state;
}

void Optimizer::write_spec(nlohmann::json& spec) const {
  write_options(spec);
  for (size_t i = 0; i < groups_.size(); ++i) {
    nlohmann::json group = {{"parameters", group_names_[i]}};
    groups_[i]->write_options(group);
    spec["groups"].push_back(std::move(group));
  }
}

void Optimizer::write_options(nlohmann::json&) const {
  throw Error(ErrorCode::kUsage,
              {.what = fmt::format("the optimizer {} has no form in config files", type())});
}

}  // namespace wholestep::optim
