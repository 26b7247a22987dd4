// Adadelta's update.
#include "wholestep/optim/adadelta.h"

namespace wholestep::optim {

ConfigFields AdadeltaConfig::fields() {
  return {{"lr", &lr, "learning rate", {.min = 0}},
          {"rho", &rho, "share of the old averages that is kept", {.min = 0, .max = 1}},
          {"eps", &eps, "added under the roots", {.min = 0}},
          {"weight_decay", &weight_decay, "pull towards 0, added to the gradient", {.min = 0}}};
}

std::vector<Slot> Adadelta::slots(const Tensor&) const { return {{"square_avg"}, {"acc_delta"}}; }

std::vector<Tensor> Adadelta::scalars(const Tensor& rate, const Tensor&, std::span<const Tensor>) const {
  return {rate};
}

std::vector<Tensor> Adadelta::update(const Tensor& p, const Tensor& grad, std::span<const Tensor> slots,
                                     std::span<const Tensor> scalars) const {
  const AdadeltaConfig& c = config();
  Tensor g = c.weight_decay != 0 ? grad + p * c.weight_decay : grad;
  Tensor v = moving_average(slots[0], square(g), c.rho);
  Tensor delta = sqrt(slots[1] + c.eps) / sqrt(v + c.eps) * g;
  return {p - scalars[0] * delta, v, moving_average(slots[1], square(delta), c.rho)};
}

}  // namespace wholestep::optim
