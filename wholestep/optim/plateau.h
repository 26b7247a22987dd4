// A schedule that waits for the loss to stop improving.
#pragma once
#include "wholestep/optim/schedule.h"

namespace wholestep::optim {

struct ReduceOnPlateauConfig {
  static constexpr const char
      *kType = "reduce-on-plateau",
      *kDoc =
          "the base rate, times factor whenever more than `patience` epochs brought no "
          "better validation loss";
  std::string mode = "min";
  double factor = 0.1;
  int64_t patience = 10;
  double threshold = 1e-4;
  std::string threshold_mode = "rel";
  int64_t cooldown = 0;
  double min_lr = 0;
  double eps = 1e-8;
  Warmup warmup = {};
  ConfigFields fields();
};

/// PyTorch's ReduceLROnPlateau. The trainer calls observe() after every epoch; in a loop of one's own that is
/// the caller's to do. The factor so far is an f64 scalar in state: a plan reads it and is not made anew.
class ReduceOnPlateau final : public ConfiguredSchedule<ReduceOnPlateauConfig> {
 public:
  explicit ReduceOnPlateau(ReduceOnPlateauConfig config = {});
  void observe(double loss, double base) override;
  std::vector<Tensor> state() const override { return {scale_, watch_}; }

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;

 private:
  bool better(double value, double best) const;
  Tensor scale_;  ///< of the base rate
  Tensor watch_;  ///< f64 [3]: the best value, epochs since, epochs of cooldown left
};

}  // namespace wholestep::optim
