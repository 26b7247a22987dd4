// The schedules' formulas and their registry.
#include "wholestep/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace wholestep::optim {
namespace {

ConfigFields with_warmup(ConfigFields fields, Warmup& warmup) {
  for (ConfigField& field : warmup.fields()) fields.push_back(std::move(field));
  return fields;
}

}  // namespace

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

void Cosine::set_run_steps(int64_t steps) { run_steps_ = steps; }

Tensor Cosine::after_warmup(const Tensor& base, const Tensor& t) const {
  int64_t total = config_.total_steps > 0 ? config_.total_steps : run_steps_;
  if (total == 0)
    throw Error(ErrorCode::kUsage, {.what = "the cosine schedule does not know how long the run is",
                                    .expected = "total_steps, or set_run_steps() before the first step"});
  // A run that is no longer than its warm-up never reaches the cosine.
  double steps = static_cast<double>(std::max<int64_t>(1, total - config_.warmup.steps));
  Tensor angle = minimum(t, steps) * (std::numbers::pi / steps);
  return config_.eta_min + (base - config_.eta_min) * (0.5 * (1.0 + cos(angle)));
}

const std::vector<ConfigType<Schedule>>& schedule_types() {
  static const std::vector<ConfigType<Schedule>> types = {
      config_type<Schedule, Constant>(), config_type<Schedule, Step>(), config_type<Schedule, Cosine>()};
  return types;
}

std::unique_ptr<Schedule> read_schedule(ConfigReader& reader) { return read_typed(reader, schedule_types()); }

}  // namespace wholestep::optim
