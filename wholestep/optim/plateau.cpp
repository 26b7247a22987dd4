// ReduceOnPlateau: what it keeps lies in tensors, so that a resumed run goes on as it would have.
#include "wholestep/optim/plateau.h"

#include <algorithm>
#include <array>
#include <limits>

namespace wholestep::optim {

ConfigFields ReduceOnPlateauConfig::fields() {
  return with_warmup(
      {{"mode", &mode, "whether a smaller or a larger value is better", {}, {"min", "max"}},
       {"factor", &factor, "of each reduction", {.min = 0, .max = 1}},
       {"patience", &patience, "epochs without a better value that are let pass", {.min = 0}},
       {"threshold", &threshold, "how much better a value must be", {.min = 0}},
       {"threshold_mode", &threshold_mode, "as a share of the best value, or absolute", {}, {"rel", "abs"}},
       {"cooldown", &cooldown, "epochs after a reduction that do not count", {.min = 0}},
       {"min_lr", &min_lr, "least rate", {.min = 0}},
       {"eps", &eps, "a reduction by no more than this is left out", {.min = 0}}},
      warmup);
}

ReduceOnPlateau::ReduceOnPlateau(ReduceOnPlateauConfig config)
    : ConfiguredSchedule(config), scale_(scalar(1, DType::f64)), watch_(zeros({DType::f64, {3}})) {
  scale_.set_role(TensorRole::kState, "schedule.scale");
  watch_.set_role(TensorRole::kState, "schedule.watch");
  double infinity = std::numeric_limits<double>::infinity();
  watch_.data<double>()[0] = config_.mode == "min" ? infinity : -infinity;
}

Tensor ReduceOnPlateau::after_warmup(const Tensor& base, const Tensor&) const { return base * scale_; }

bool ReduceOnPlateau::better(double value, double best) const {
  double sign = config_.mode == "min" ? -1 : 1;
  if (config_.threshold_mode == "abs") return sign * value > sign * best + config_.threshold;
  return sign * value > sign * best * (1 + sign * config_.threshold);
}

void ReduceOnPlateau::observe(double loss, double base) {
  std::array<double, 3> watch{};
  watch_.read(std::as_writable_bytes(std::span(watch)));
  auto& [best, waited, cooldown] = watch;
  if (better(loss, best)) best = loss, waited = 0;
  else ++waited;
  if (cooldown > 0) --cooldown, waited = 0;
  if (waited > static_cast<double>(config_.patience)) {
    double rate = base * scale_.item<double>(), next = std::max(rate * config_.factor, config_.min_lr);
    if (rate - next > config_.eps) scale_.assign(scalar(next / base, DType::f64));
    cooldown = static_cast<double>(config_.cooldown), waited = 0;
  }
  watch_.write(std::as_bytes(std::span(watch)));
}

}  // namespace wholestep::optim
