// Averages as state, updated by ops.
#include "wholestep/optim/ema.h"

#include <fmt/format.h>

#include "wholestep/graph/widen.h"
#include "wholestep/optim/optimizer.h"

namespace wholestep::optim {

Ema::Ema(std::vector<Tensor> parameters, double decay)
    : parameters_(std::move(parameters)), updates_(scalar(0, DType::i64)), decay_(decay) {
  if (!(decay >= 0 && decay < 1))
    throw Error(ErrorCode::kUsage, {.what = "averages of weights need a decay of at least 0 and below 1",
                                    .got = fmt::format("{}", decay)});
  updates_.set_role(TensorRole::kState, "ema.updates");
  for (const Tensor& p : parameters_) {
    if (p.name().empty())
      throw Error(ErrorCode::kUsage, {.what = "averages are kept of parameters of a module",
                                      .got = "a tensor " + to_string(p.type()) + " without a name"});
    averages_.push_back(p.clone().set_role(TensorRole::kState, p.name() + ".ema"));
  }
}

void Ema::update() const {
  NoGrad no_grad;
  Tensor first = equal(updates_, 0.0);
  for (size_t i = 0; i < parameters_.size(); ++i)
    averages_[i].assign(rounded_once(averages_[i], [&](const Tensor& average) {
      Tensor p = widened(parameters_[i]);
      return where(first, p, moving_average(average, p, decay_));
    }));
  updates_.assign(updates_ + 1.0);
}

void Ema::apply() const {
  for (size_t i = 0; i < parameters_.size(); ++i) parameters_[i].assign(averages_[i]);
}

std::vector<Tensor> Ema::state() const {
  std::vector<Tensor> state = averages_;
  state.push_back(updates_);
  return state;
}

}  // namespace wholestep::optim
