// Adam's update. Bias corrections are f64 scalars of the step counter, rounded once to the parameter's dtype.
#include "wholestep/optim/adam.h"

namespace wholestep::optim {
namespace {

template <class Config>
ConfigFields adam_fields(Config& c, const char* decay_doc) {
  return {
      {"lr", &c.lr, "learning rate", {.min = 0}},
      {"betas", &c.betas, "share of the old moments that is kept, first and second", {.min = 0, .max = 1}},
      {"eps", &c.eps, "added to the root of the second moment", {.min = 0}},
      {"weight_decay", &c.weight_decay, decay_doc, {.min = 0}}};
}

template <class Config>
std::vector<std::string> adam_problems(const Config& c) {
  if (c.betas[0] == 1 || c.betas[1] == 1) return {"'betas' must be below 1: a moment would never move"};
  return {};
}

}  // namespace

ConfigFields AdamConfig::fields() { return adam_fields(*this, "pull towards 0, added to the gradient"); }
ConfigFields AdamWConfig::fields() {
  return adam_fields(*this, "share of a weight taken off per step, times lr");
}
std::vector<std::string> AdamConfig::problems() const { return adam_problems(*this); }
std::vector<std::string> AdamWConfig::problems() const { return adam_problems(*this); }

template <class Config>
std::vector<Tensor> AdamFamily<Config>::scalars(const Tensor& rate, const Tensor& t) const {
  const Config& c = this->config();
  Tensor step_size = rate / (1.0 - pow(c.betas[0], t));
  Tensor second_correction = rsqrt(1.0 - pow(c.betas[1], t));
  return {step_size, second_correction, 1.0 - rate * c.weight_decay};
}

template <class Config>
std::vector<Tensor> AdamFamily<Config>::update(const Tensor& parameter, const Tensor& grad,
                                               std::span<const Tensor> slots,
                                               std::span<const Tensor> scalars) const {
  const Config& c = this->config();
  auto scalar_of = [&](size_t i) { return cast(scalars[i], parameter.dtype()); };
  Tensor p = parameter, g = grad;
  if (c.weight_decay != 0) {
    if constexpr (std::is_same_v<Config, AdamWConfig>) p = p * scalar_of(2);
    else g = g + p * c.weight_decay;
  }
  Tensor m = slots[0] * c.betas[0] + g * (1 - c.betas[0]);
  Tensor v = slots[1] * c.betas[1] + square(g) * (1 - c.betas[1]);
  Tensor root = sqrt(v) * scalar_of(1) + c.eps;
  return {p - scalar_of(0) * m / root, m, v};
}

template class AdamFamily<AdamConfig>;
template class AdamFamily<AdamWConfig>;

}  // namespace wholestep::optim
