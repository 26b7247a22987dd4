// RMSprop's update.
#include "wholestep/optim/rmsprop.h"

namespace wholestep::optim {

ConfigFields RMSpropConfig::fields() {
  return {{"lr", &lr, "learning rate", {.min = 0}},
          {"alpha", &alpha, "share of the old averages that is kept", {.min = 0, .max = 1}},
          {"eps", &eps, "added to the root", {.min = 0}},
          {"weight_decay", &weight_decay, "pull towards 0, added to the gradient", {.min = 0}},
          {"momentum", &momentum, "share of the running direction that is kept", {.min = 0}},
          {"centered", &centered, "divide by the deviation from the mean gradient"}};
}

std::vector<Slot> RMSprop::slots(const Tensor&) const {
  std::vector<Slot> slots = {{"square_avg"}};
  if (config().centered) slots.push_back({"grad_avg"});
  if (config().momentum != 0) slots.push_back({"momentum_buffer"});
  return slots;
}

std::vector<Tensor> RMSprop::scalars(const Tensor& rate, const Tensor&, std::span<const Tensor>) const {
  return {rate};
}

std::vector<Tensor> RMSprop::update(const Tensor& p, const Tensor& grad, std::span<const Tensor> slots,
                                    std::span<const Tensor> scalars) const {
  const RMSpropConfig& c = config();
  Tensor g = c.weight_decay != 0 ? grad + p * c.weight_decay : grad;
  Tensor v = moving_average(slots[0], square(g), c.alpha), variance = v;
  std::vector<Tensor> kept = {v};
  if (c.centered) {
    kept.push_back(moving_average(slots[1], g, c.alpha));
    variance = maximum(v - square(kept.back()), 0.0);  // below 0 by rounding alone
  }
  Tensor direction = g / (sqrt(variance) + c.eps);
  if (c.momentum != 0) {
    direction = slots.back() * c.momentum + direction;
    kept.push_back(direction);
  }
  kept.insert(kept.begin(), p - scalars[0] * direction);
  return kept;
}

}  // namespace wholestep::optim
