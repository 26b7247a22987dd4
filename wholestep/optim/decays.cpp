// The formulas of the schedules that fall or rise once.
#include "wholestep/optim/decays.h"

#include <algorithm>

namespace wholestep::optim {

ConfigFields MultiStepConfig::fields() {
  return with_warmup({{"milestones", &milestones, "steps at which the rate drops, rising", {.min = 1}},
                      {"gamma", &gamma, "factor of each drop", {.min = 0}}},
                     warmup);
}
std::vector<std::string> MultiStepConfig::problems() const {
  if (milestones.empty()) return {"'milestones' is missing"};
  if (!std::ranges::is_sorted(milestones)) return {"'milestones' must rise"};
  return {};
}
Tensor MultiStep::after_warmup(const Tensor& base, const Tensor& t) const {
  Tensor rate = base;
  for (int64_t milestone : config_.milestones)
    rate = where(t < static_cast<double>(milestone), rate, rate * config_.gamma);
  return rate;
}

ConfigFields ExponentialConfig::fields() {
  return with_warmup({{"gamma", &gamma, "factor of every step", {.min = 0}}}, warmup);
}
std::vector<std::string> ExponentialConfig::problems() const {
  if (gamma == 0) return {"'gamma' is missing"};
  return {};
}
Tensor Exponential::after_warmup(const Tensor& base, const Tensor& t) const {
  return base * pow(config_.gamma, t);
}

ConfigFields LinearConfig::fields() {
  return with_warmup(
      {{"start_factor", &start_factor, "first rate over base", {.min = 0}},
       {"end_factor", &end_factor, "last rate over base", {.min = 0}},
       {"total_iters", &total_iters, "steps from the first to the last; 0: the run", {.min = 0}}},
      warmup);
}
Tensor Linear::after_warmup(const Tensor& base, const Tensor& t) const {
  const LinearConfig& c = config_;
  double steps = c.total_iters > 0 ? static_cast<double>(c.total_iters) : rest_of_run();
  return base * (c.start_factor + (c.end_factor - c.start_factor) * (minimum(t, steps) / steps));
}

ConfigFields PolynomialConfig::fields() {
  return with_warmup({{"total_iters", &total_iters, "steps from base to 0; 0: the run", {.min = 0}},
                      {"power", &power, "of what is left of them", {.min = 0}}},
                     warmup);
}
Tensor Polynomial::after_warmup(const Tensor& base, const Tensor& t) const {
  double steps = config_.total_iters > 0 ? static_cast<double>(config_.total_iters) : rest_of_run();
  return base * pow(1.0 - minimum(t, steps) / steps, config_.power);
}

}  // namespace wholestep::optim
