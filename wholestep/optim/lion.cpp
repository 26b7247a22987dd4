// Lion's update.
#include "wholestep/optim/lion.h"

namespace wholestep::optim {

ConfigFields LionConfig::fields() {
  return {
      {"lr", &lr, "learning rate", {.min = 0}},
      {"betas", &betas, "share of the old momentum: in the step, and in what is kept", {.min = 0, .max = 1}},
      {"weight_decay", &weight_decay, "share of a weight taken off per step, times lr", {.min = 0}}};
}

std::vector<Slot> Lion::slots(const Tensor&) const { return {{"exp_avg"}}; }

std::vector<Tensor> Lion::scalars(const Tensor& rate, const Tensor&, std::span<const Tensor>) const {
  return {rate, rate * config().weight_decay};
}

std::vector<Tensor> Lion::update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                                 std::span<const Tensor> scalars) const {
  const LionConfig& c = config();
  Tensor p = c.weight_decay != 0 ? parameter - parameter * scalars[1] : parameter;
  return {p - scalars[0] * sign(moving_average(slots[0], grad, c.betas[0])),
          moving_average(slots[0], grad, c.betas[1])};
}

}  // namespace wholestep::optim
