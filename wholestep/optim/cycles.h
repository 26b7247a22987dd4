// Schedules that rise and fall.
#pragma once
#include "wholestep/optim/schedule.h"

namespace wholestep::optim {

struct CosineRestartsConfig {
  static constexpr const char *kType = "cosine-restarts",
                              *kDoc =
                                  "eta_min + (base - eta_min) (1 + cos(pi u / T)) / 2, u the steps since the "
                                  "last restart, T = T_0 at first and T_mult times as long after each";
  int64_t T_0 = 0;  ///< required
  int64_t T_mult = 1;
  double eta_min = 0;
  Warmup warmup = {};
  ConfigFields fields();
};
/// Loshchilov & Hutter 2017; PyTorch's CosineAnnealingWarmRestarts.
class CosineRestarts final : public ConfiguredSchedule<CosineRestartsConfig> {
 public:
  explicit CosineRestarts(CosineRestartsConfig config = {}) : ConfiguredSchedule(config) {}

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;
};

struct OneCycleConfig {
  static constexpr const char *kType = "one-cycle",
                              *kDoc =
                                  "from base / div_factor to base in pct_start of the steps, then down to "
                                  "base / (div_factor final_div_factor); with three_phase first back to base "
                                  "/ div_factor, as fast as up";
  int64_t total_steps = 0;  ///< 0: the whole run
  double pct_start = 0.3;
  std::string anneal_strategy = "cos";
  double div_factor = 25;
  double final_div_factor = 1e4;
  bool three_phase = false;
  Warmup warmup = {};
  ConfigFields fields();
  std::vector<std::string> problems() const;
};
/// Smith & Topin 2018; PyTorch's OneCycleLR with base as its max_lr and without its cycle of the momentum.
class OneCycle final : public ConfiguredSchedule<OneCycleConfig> {
 public:
  explicit OneCycle(OneCycleConfig config = {}) : ConfiguredSchedule(config) {}

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;
};

}  // namespace wholestep::optim
