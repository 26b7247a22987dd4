// What schedules share, and the formulas of the first three.
#include "wholestep/optim/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include <nlohmann/json.hpp>

namespace wholestep::optim {

ConfigFields with_warmup(ConfigFields fields, Warmup& warmup) {
  for (ConfigField& field : warmup.fields()) fields.push_back(std::move(field));
  return fields;
}

const Warmup& Schedule::warmup() const {
  static const Warmup none;
  return none;
}

double Schedule::rest_of_run() const {
  if (run_steps_ == 0)
    throw Error(ErrorCode::kUsage,
                {.what = fmt::format("the {} schedule does not know how long the run is", type()),
                 .expected = "a length in steps, or set_run_steps() before the first step"});
  return static_cast<double>(std::max<int64_t>(1, run_steps_ - warmup().steps));
}

void Schedule::write_spec(nlohmann::json&) const {
  throw Error(ErrorCode::kUsage,
              {.what = fmt::format("the schedule {} has no form in config files", type())});
}

Tensor Schedule::rate(const Tensor& base, const Tensor& step) const {
  Tensor t = cast(step, DType::f64);
  const Warmup& w = warmup();
  if (w.steps == 0) return after_warmup(base, t);
  double steps = static_cast<double>(w.steps);
  Tensor rising = base * (w.start_factor + (1 - w.start_factor) * (t / steps));
  return where(t < steps, rising, after_warmup(base, t - steps));
}

std::vector<double> Schedule::curve(double base, int64_t steps) const {
  Tensor base_rate = scalar(base, DType::f64);
  std::vector<double> rates;
  for (int64_t step = 0; step < steps; ++step)
    rates.push_back(rate(base_rate, scalar(static_cast<double>(step), DType::i64)).item<double>());
  return rates;
}

ConfigFields ConstantConfig::fields() {
  return with_warmup({{"factor", &factor, "of the rate in the first steps", {.min = 0}},
                      {"total_iters", &total_iters, "how many steps have it", {.min = 0}}},
                     warmup);
}

Tensor Constant::after_warmup(const Tensor& base, const Tensor& t) const {
  if (config_.total_iters == 0) return base;
  return where(t < static_cast<double>(config_.total_iters), base * config_.factor, base);
}

ConfigFields StepConfig::fields() {
  return with_warmup({{"step_size", &step_size, "steps between two drops", {.min = 1}},
                      {"gamma", &gamma, "factor of each drop", {.min = 0}}},
                     warmup);
}

Tensor Step::after_warmup(const Tensor& base, const Tensor& t) const {
  return base * pow(config_.gamma, floor(t / static_cast<double>(config_.step_size)));
}

ConfigFields CosineConfig::fields() {
  return with_warmup(
      {{"total_steps", &total_steps, "steps from the first to eta_min; 0: the run", {.min = 0}},
       {"eta_min", &eta_min, "last rate", {.min = 0}}},
      warmup);
}

std::vector<std::string> CosineConfig::problems() const {
  if (total_steps > 0 && total_steps <= warmup.steps)
    return {"'total_steps' must be larger than 'warmup_steps', which it includes"};
  return {};
}

Tensor Cosine::after_warmup(const Tensor& base, const Tensor& t) const {
  // A run that is no longer than its warm-up never reaches the cosine.
  int64_t given = config_.total_steps;
  double steps = given > 0 ? static_cast<double>(given - config_.warmup.steps) : rest_of_run();
  Tensor angle = minimum(t, steps) * (std::numbers::pi / steps);
  return config_.eta_min + (base - config_.eta_min) * (0.5 * (1.0 + cos(angle)));
}

}  // namespace wholestep::optim
