// The formulas of the schedules that rise and fall.
#include "wholestep/optim/cycles.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace wholestep::optim {

ConfigFields CosineRestartsConfig::fields() {
  return with_warmup(
      {{"T_0", &T_0, "steps before the first restart", {.min = 1}},
       {"T_mult", &T_mult, "how many times as long each cycle is as the one before", {.min = 1}},
       {"eta_min", &eta_min, "least rate", {.min = 0}}},
      warmup);
}

Tensor CosineRestarts::after_warmup(const Tensor& base, const Tensor& t) const {
  const CosineRestartsConfig& c = config_;
  double first = static_cast<double>(c.T_0), growth = static_cast<double>(c.T_mult);
  Tensor share;  // of the cycle that is done
  if (c.T_mult == 1) {
    Tensor cycles = t / first;
    share = cycles - floor(cycles);
  } else {
    // Cycle n begins at first (growth^n - 1) / (growth - 1); there the logarithm is n but for its rounding.
    Tensor n = floor(log(t / first * (growth - 1) + 1.0) * (1 / std::log(growth)) + 1e-10);
    Tensor length = pow(growth, n);
    share = (t / first - (length - 1.0) / (growth - 1)) / length;
  }
  return c.eta_min + (base - c.eta_min) * (0.5 * (1.0 + cos(share * std::numbers::pi)));
}

ConfigFields OneCycleConfig::fields() {
  return with_warmup(
      {{"total_steps", &total_steps, "steps from the first to the last rate; 0: the run", {.min = 0}},
       {"pct_start", &pct_start, "share of the steps that rise", {.min = 0, .max = 1}},
       {"anneal_strategy", &anneal_strategy, "the way between two rates", {}, {"cos", "linear"}},
       {"div_factor", &div_factor, "base over the first rate", {.min = 1}},
       {"final_div_factor", &final_div_factor, "first rate over the last", {.min = 1}},
       {"three_phase", &three_phase, "fall to the first rate as fast as it rose, then to the last"}},
      warmup);
}
std::vector<std::string> OneCycleConfig::problems() const {
  if (total_steps > 0 && total_steps <= warmup.steps)
    return {"'total_steps' must be larger than 'warmup_steps', which it includes"};
  if (three_phase && pct_start > 0.5) return {"'pct_start' of three phases is at most 0.5"};
  return {};
}

Tensor OneCycle::after_warmup(const Tensor& base, const Tensor& t) const {
  const OneCycleConfig& c = config_;
  double steps = c.total_steps > 0 ? static_cast<double>(c.total_steps - c.warmup.steps) : rest_of_run();
  double up = c.pct_start * steps - 1, low = 1 / c.div_factor, last = low / c.final_div_factor;
  struct Phase {
    double end, from, to;  // rates over base
  };
  std::vector<Phase> phases = {{up, low, 1}, {steps - 1, 1, last}};
  if (c.three_phase) phases = {{up, low, 1}, {2 * up, 1, low}, {steps - 1, low, last}};

  Tensor at = minimum(t, steps - 1), rate;
  for (size_t i = phases.size(); i-- > 0;) {
    const Phase& phase = phases[i];
    double start = i > 0 ? phases[i - 1].end : 0;
    Tensor share = (at - start) * (1 / std::max(phase.end - start, 1e-9));
    if (c.anneal_strategy == "cos") share = 0.5 * (1.0 - cos(share * std::numbers::pi));
    Tensor here = base * (phase.from + (phase.to - phase.from) * share);
    rate = rate.defined() ? where(at <= phase.end, here, rate) : here;
  }
  return rate;
}

}  // namespace wholestep::optim
