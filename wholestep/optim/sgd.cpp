// SGD's update.
#include "wholestep/optim/sgd.h"

namespace wholestep::optim {

ConfigFields SGDConfig::fields() {
  return {{"lr", &lr, "learning rate", {.min = 0}},
          {"momentum", &momentum, "share of the running direction that is kept", {.min = 0}},
          {"dampening", &dampening, "share of a gradient kept out of the running direction"},
          {"weight_decay", &weight_decay, "pull towards 0, added to the gradient", {.min = 0}},
          {"nesterov", &nesterov, "step along the direction after the next one (Sutskever et al. 2013)"}};
}

std::vector<std::string> SGDConfig::problems() const {
  if (nesterov && (momentum <= 0 || dampening != 0))
    return {"'nesterov' needs a momentum above 0 and no dampening"};
  return {};
}

std::vector<Slot> SGD::slots(const Tensor&) const {
  return config().momentum != 0 ? std::vector<Slot>{{"momentum_buffer"}} : std::vector<Slot>{};
}

std::vector<Tensor> SGD::scalars(const Tensor& rate, const Tensor& t, std::span<const Tensor>) const {
  return {rate, equal(t, 1.0)};
}

std::vector<Tensor> SGD::update(const Tensor& p, const Tensor& grad, std::span<const Tensor> slots,
                                std::span<const Tensor> scalars) const {
  const SGDConfig& c = config();
  Tensor rate = scalars[0], g = grad;
  if (c.weight_decay != 0) g = g + p * c.weight_decay;
  if (c.momentum == 0) return {p - rate * g};
  // The first direction is the whole gradient; without dampening, momentum * 0 + g is that already.
  Tensor v = slots[0] * c.momentum + g * (1 - c.dampening);
  if (c.dampening != 0) v = where(scalars[1], g, v);
  Tensor direction = c.nesterov ? g + v * c.momentum : v;
  return {p - rate * direction, v};
}

}  // namespace wholestep::optim
