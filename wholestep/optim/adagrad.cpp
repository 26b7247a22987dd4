// Adagrad's update.
#include "wholestep/optim/adagrad.h"

namespace wholestep::optim {

ConfigFields AdagradConfig::fields() {
  return {{"lr", &lr, "learning rate", {.min = 0}},
          {"lr_decay", &lr_decay, "fall of the rate over steps", {.min = 0}},
          {"weight_decay", &weight_decay, "pull towards 0, added to the gradient", {.min = 0}},
          {"initial_accumulator_value", &initial_accumulator_value, "sum of squares at first", {.min = 0}},
          {"eps", &eps, "added to the root", {.min = 0}}};
}

std::vector<Slot> Adagrad::slots(const Tensor&) const {
  return {{.name = "sum", .initial = config().initial_accumulator_value}};
}

std::vector<Tensor> Adagrad::scalars(const Tensor& rate, const Tensor& t, std::span<const Tensor>) const {
  return {rate / (1.0 + (t - 1.0) * config().lr_decay)};
}

std::vector<Tensor> Adagrad::update(const Tensor& p, const Tensor& grad, std::span<const Tensor> slots,
                                    std::span<const Tensor> scalars) const {
  const AdagradConfig& c = config();
  Tensor g = c.weight_decay != 0 ? grad + p * c.weight_decay : grad;
  Tensor squares = slots[0] + square(g);
  return {p - scalars[0] * g / (sqrt(squares) + c.eps), squares};
}

}  // namespace wholestep::optim
