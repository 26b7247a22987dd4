// Adamax's update.
#include "wholestep/optim/adamax.h"

namespace wholestep::optim {

ConfigFields AdamaxConfig::fields() {
  return {{"lr", &lr, "learning rate", {.min = 0}},
          {"betas", &betas, "share of the old moment and of the old maximum kept", {.min = 0, .max = 1}},
          {"eps", &eps, "added to the size of a gradient", {.min = 0}},
          {"weight_decay", &weight_decay, kDecayInGradient, {.min = 0}}};
}
std::vector<std::string> AdamaxConfig::problems() const { return problems_of_betas(betas); }

std::vector<Slot> Adamax::slots(const Tensor&) const { return {{"exp_avg"}, {"exp_inf"}}; }

std::vector<Tensor> Adamax::scalars(const Tensor& rate, const Tensor& t, std::span<const Tensor>) const {
  return {rate / (1.0 - pow(config().betas[0], t))};
}

std::vector<Tensor> Adamax::update(const Tensor& p, const Tensor& grad, std::span<const Tensor> slots,
                                   std::span<const Tensor> scalars) const {
  const AdamaxConfig& c = config();
  Tensor g = c.weight_decay != 0 ? grad + p * c.weight_decay : grad;
  Tensor m = moving_average(slots[0], g, c.betas[0]);
  Tensor u = maximum(slots[1] * c.betas[1], abs(g) + c.eps);
  return {p - scalars[0] * m / u, m, u};
}

}  // namespace wholestep::optim
