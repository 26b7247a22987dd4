// NAdam's update. The product of the momenta has no closed form: it is state.
#include "wholestep/optim/nadam.h"

namespace wholestep::optim {

ConfigFields NAdamConfig::fields() {
  ConfigFields fields = adam_fields(*this, "pull towards 0, added to the gradient unless decoupled");
  fields.push_back(
      {"momentum_decay", &momentum_decay, "how fast the momentum rises to betas[0]", {.min = 0}});
  fields.push_back({"decoupled_weight_decay", &decoupled_weight_decay, "take lr weight_decay p off instead"});
  return fields;
}
std::vector<std::string> NAdamConfig::problems() const { return problems_of_betas(betas); }

std::vector<Slot> NAdam::slots(const Tensor&) const { return {{"exp_avg"}, {"exp_avg_sq"}}; }
std::vector<Slot> NAdam::shared_slots() const { return {{.name = "mu_product", .initial = 1}}; }

std::vector<Tensor> NAdam::scalars(const Tensor& rate, const Tensor& t, std::span<const Tensor> kept) const {
  const NAdamConfig& c = config();
  auto momentum = [&](const Tensor& at) {
    return c.betas[0] * (1.0 - 0.5 * pow(0.96, at * c.momentum_decay));
  };
  Tensor mu = momentum(t), next = momentum(t + 1.0), product = kept[0] * mu;
  return {product, rate * (1.0 - mu) / (1.0 - product), rate * next / (1.0 - product * next),
          rsqrt(1.0 - pow(c.betas[1], t)), rate * c.weight_decay};
}

std::vector<Tensor> NAdam::update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                                  std::span<const Tensor> scalars) const {
  const NAdamConfig& c = config();
  Tensor p = parameter, g = grad;
  if (c.weight_decay != 0) {
    if (c.decoupled_weight_decay) p = p - p * scalars[4];
    else g = g + p * c.weight_decay;
  }
  Tensor m = moving_average(slots[0], g, c.betas[0]), v = moving_average(slots[1], square(g), c.betas[1]);
  Tensor root = sqrt(v) * scalars[3] + c.eps;
  return {p - (scalars[1] * g + scalars[2] * m) / root, m, v};
}

}  // namespace wholestep::optim
