// Schedules that fall from the base rate, or rise to it.
#pragma once
#include "wholestep/optim/schedule.h"

namespace wholestep::optim {

struct MultiStepConfig {
  static constexpr const char *kType = "multi-step",
                              *kDoc = "base * gamma^(number of milestones that t has reached)";
  std::vector<int64_t> milestones = {};
  double gamma = 0.1;
  Warmup warmup = {};
  ConfigFields fields();
  std::vector<std::string> problems() const;
};
/// PyTorch's MultiStepLR.
class MultiStep final : public ConfiguredSchedule<MultiStepConfig> {
 public:
  explicit MultiStep(MultiStepConfig config = {}) : ConfiguredSchedule(config) {}

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;
};

struct ExponentialConfig {
  static constexpr const char *kType = "exponential", *kDoc = "base * gamma^t";
  double gamma = 0;  ///< required
  Warmup warmup = {};
  ConfigFields fields();
  std::vector<std::string> problems() const;
};
/// PyTorch's ExponentialLR.
class Exponential final : public ConfiguredSchedule<ExponentialConfig> {
 public:
  explicit Exponential(ExponentialConfig config = {}) : ConfiguredSchedule(config) {}

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;
};

struct LinearConfig {
  static constexpr const char
      *kType = "linear",
      *kDoc = "base * (start_factor + (end_factor - start_factor) min(t, total_iters) / total_iters)";
  double start_factor = 1.0 / 3;
  double end_factor = 1;
  int64_t total_iters = 5;  ///< 0: the whole run
  Warmup warmup = {};
  ConfigFields fields();
};
/// PyTorch's LinearLR.
class Linear final : public ConfiguredSchedule<LinearConfig> {
 public:
  explicit Linear(LinearConfig config = {}) : ConfiguredSchedule(config) {}

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;
};

struct PolynomialConfig {
  static constexpr const char *kType = "polynomial",
                              *kDoc = "base * (1 - min(t, total_iters) / total_iters)^power";
  int64_t total_iters = 5;  ///< 0: the whole run
  double power = 1;
  Warmup warmup = {};
  ConfigFields fields();
};
/// PyTorch's PolynomialLR.
class Polynomial final : public ConfiguredSchedule<PolynomialConfig> {
 public:
  explicit Polynomial(PolynomialConfig config = {}) : ConfiguredSchedule(config) {}

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;
};

}  // namespace wholestep::optim
