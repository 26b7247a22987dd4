// RAdam's update: which of its two forms is taken follows from the number of the step alone.
#include "wholestep/optim/radam.h"

namespace wholestep::optim {

ConfigFields RAdamConfig::fields() {
  ConfigFields fields = adam_fields(*this, "pull towards 0, added to the gradient unless decoupled");
  fields.push_back({"decoupled_weight_decay", &decoupled_weight_decay, "take lr weight_decay p off instead"});
  return fields;
}
std::vector<std::string> RAdamConfig::problems() const { return problems_of_betas(betas); }

std::vector<Slot> RAdam::slots(const Tensor&) const { return {{"exp_avg"}, {"exp_avg_sq"}}; }

std::vector<Tensor> RAdam::scalars(const Tensor& rate, const Tensor& t, std::span<const Tensor>) const {
  const RAdamConfig& c = config();
  Tensor power = pow(c.betas[1], t);
  double longest = 2 / (1 - c.betas[1]) - 1;
  Tensor length = longest - 2.0 * t * power / (1.0 - power);
  Tensor certain = maximum(length, 5.0);  // so that the root exists also where it is not taken
  Tensor rectified = sqrt((certain - 4.0) * (certain - 2.0) * longest /
                          (certain * ((longest - 4) * (longest - 2))) * (1.0 - power));
  return {rate / (1.0 - pow(c.betas[0], t)), rectified, length > 5.0, rate * c.weight_decay};
}

std::vector<Tensor> RAdam::update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                                  std::span<const Tensor> scalars) const {
  const RAdamConfig& c = config();
  Tensor p = parameter, g = grad;
  if (c.weight_decay != 0) {
    if (c.decoupled_weight_decay) p = p - p * scalars[3];
    else g = g + p * c.weight_decay;
  }
  Tensor m = moving_average(slots[0], g, c.betas[0]), v = moving_average(slots[1], square(g), c.betas[1]);
  return {p - scalars[0] * m * where(scalars[2], scalars[1] / (sqrt(v) + c.eps), 1.0), m, v};
}

}  // namespace wholestep::optim
