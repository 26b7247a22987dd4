// Adam's update. Bias corrections are f64 scalars of the step counter, rounded once to the parameter's dtype.
#include "wholestep/optim/adam.h"

namespace wholestep::optim {

std::vector<std::string> problems_of_betas(const std::array<double, 2>& betas) {
  if (betas[0] == 1 || betas[1] == 1) return {"'betas' must be below 1: a moment would never move"};
  return {};
}

namespace {

template <class Config>
ConfigFields fields_with_amsgrad(Config& c, const char* decay_doc) {
  ConfigFields fields = adam_fields(c, decay_doc);
  fields.push_back({"amsgrad", &c.amsgrad, "divide by the largest second moment so far"});
  return fields;
}

}  // namespace

ConfigFields AdamConfig::fields() { return fields_with_amsgrad(*this, kDecayInGradient); }
ConfigFields AdamWConfig::fields() { return fields_with_amsgrad(*this, kDecayBeside); }
std::vector<std::string> AdamConfig::problems() const { return problems_of_betas(betas); }
std::vector<std::string> AdamWConfig::problems() const { return problems_of_betas(betas); }

template <class Config>
std::vector<Slot> AdamFamily<Config>::slots(const Tensor&) const {
  std::vector<Slot> slots = {{"exp_avg"}, {"exp_avg_sq"}};
  if (this->config().amsgrad) slots.push_back({"max_exp_avg_sq"});
  return slots;
}

template <class Config>
std::vector<Tensor> AdamFamily<Config>::scalars(const Tensor& rate, const Tensor& t,
                                                std::span<const Tensor>) const {
  const Config& c = this->config();
  Tensor step_size = rate / (1.0 - pow(c.betas[0], t));
  Tensor second_correction = rsqrt(1.0 - pow(c.betas[1], t));
  return {step_size, second_correction, rate * c.weight_decay};
}

template <class Config>
std::vector<Tensor> AdamFamily<Config>::update(const Tensor& parameter, const Tensor& grad,
                                               std::span<const Tensor> slots,
                                               std::span<const Tensor> scalars) const {
  const Config& c = this->config();
  Tensor p = parameter, g = grad;
  if (c.weight_decay != 0) {
    if constexpr (std::is_same_v<Config, AdamWConfig>) p = p - p * scalars[2];
    else g = g + p * c.weight_decay;
  }
  Tensor m = moving_average(slots[0], g, c.betas[0]), v = moving_average(slots[1], square(g), c.betas[1]);
  std::vector<Tensor> kept = {m, v};
  if (c.amsgrad) kept.push_back(maximum(slots[2], v));
  Tensor root = sqrt(kept.back()) * scalars[1] + c.eps;
  kept.insert(kept.begin(), p - scalars[0] * m / root);
  return kept;
}

template class AdamFamily<AdamConfig>;
template class AdamFamily<AdamWConfig>;

}  // namespace wholestep::optim
