// Learning-rate schedules: the rate of an update as a function of how many came before it, in f64 scalar ops,
// so that it is computed inside the step and nothing is recompiled when it changes. Formulas are PyTorch's
// closed forms.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wholestep/io/config_fields.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep::optim {

/// A linear rise in front of any schedule (PyTorch's LinearLR before it in a SequentialLR): the rate is
/// base * (start_factor + (1 - start_factor) * step / steps) while step < steps; the schedule then starts at
/// its own step 0.
struct Warmup {
  int64_t steps = 0;
  double start_factor = 1.0 / 3;
  ConfigFields fields() {
    return {{"warmup_steps", &steps, "steps of linear rise before the schedule begins", {.min = 0}},
            {"warmup_start_factor", &start_factor, "first rate of the rise over base", {.min = 0, .max = 1}}};
  }
};

/// Fields of a schedule, then those of its warm-up.
ConfigFields with_warmup(ConfigFields fields, Warmup& warmup);

class Schedule {
 public:
  virtual ~Schedule() = default;
  /// The rate of the update that follows `step` (i64 scalar) others; base and result f64 scalars.
  Tensor rate(const Tensor& base, const Tensor& step) const;
  /// The same on the host, for reports: the rates of updates 0 to steps - 1.
  std::vector<double> curve(double base, int64_t steps) const;
  /// Fills a length that was left to be the whole run, in optimizer steps.
  virtual void set_run_steps(int64_t steps) { run_steps_ = steps; }
  /// Tells what an epoch came to, its validation loss where there is one, else its training loss; `base` as
  /// in rate(). Only schedules that react to it (reduce-on-plateau) listen.
  virtual void observe(double loss, double base) { static_cast<void>(loss), static_cast<void>(base); }
  /// What the schedule keeps between steps, for checkpoints.
  virtual std::vector<Tensor> state() const { return {}; }

  virtual std::string_view type() const = 0;
  virtual std::string description() const { return std::string(type()); }
  /// Adds the form of config files to an object; kUsage for schedules that have none.
  virtual void write_spec(nlohmann::json& spec) const;

 protected:
  /// The schedule proper; t counts from the end of the warm-up, f64.
  virtual Tensor after_warmup(const Tensor& base, const Tensor& t) const = 0;
  virtual const Warmup& warmup() const;
  /// Steps of the run after the warm-up, at least 1; kUsage before set_run_steps().
  double rest_of_run() const;

 private:
  int64_t run_steps_ = 0;
};

/// Config: kType, kDoc, warmup, fields().
template <class ConfigStruct>
class ConfiguredSchedule : public Schedule {
 public:
  using Config = ConfigStruct;
  const Config& config() const { return config_; }
  std::string_view type() const override { return Config::kType; }
  std::string description() const override {
    return std::string(Config::kType) + "(" + print_config(config_) + ")";
  }
  void write_spec(nlohmann::json& spec) const override { write_config(spec, config_); }

 protected:
  explicit ConfiguredSchedule(Config config)
      : config_(checked_config(std::string("schedule ") + Config::kType, std::move(config))) {}
  const Warmup& warmup() const override { return config_.warmup; }
  Config config_;
};

struct ConstantConfig {
  static constexpr const char *kType = "constant",
                              *kDoc = "the base rate, times factor for the first total_iters steps";
  double factor = 1;
  int64_t total_iters = 0;
  Warmup warmup = {};
  ConfigFields fields();
};
/// PyTorch's ConstantLR, which differs by its defaults: 1/3 for 5 steps.
class Constant final : public ConfiguredSchedule<ConstantConfig> {
 public:
  explicit Constant(ConstantConfig config = {}) : ConfiguredSchedule(config) {}

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;
};

struct StepConfig {
  static constexpr const char *kType = "step", *kDoc = "base * gamma^floor(t / step_size)";
  int64_t step_size = 0;
  double gamma = 0.1;
  Warmup warmup = {};
  ConfigFields fields();
};
class Step final : public ConfiguredSchedule<StepConfig> {
 public:
  explicit Step(StepConfig config) : ConfiguredSchedule(config) {}

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;
};

struct CosineConfig {
  static constexpr const char *kType = "cosine",
                              *kDoc =
                                  "eta_min + (base - eta_min) (1 + cos(pi t / T)) / 2, T the steps after "
                                  "the warm-up; stays at eta_min afterwards";
  int64_t total_steps = 0;  ///< 0: the whole run, which set_run_steps() fills in
  double eta_min = 0;
  Warmup warmup = {};
  ConfigFields fields();
  std::vector<std::string> problems() const;
};
class Cosine final : public ConfiguredSchedule<CosineConfig> {
 public:
  explicit Cosine(CosineConfig config = {}) : ConfiguredSchedule(config) {}

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;
};

const std::vector<ConfigType<Schedule>>& schedule_types();  ///< those that files can name
/// From {"type": "cosine", ...}; null where problems are left in the reader.
std::unique_ptr<Schedule> read_schedule(ConfigReader& reader);

}  // namespace wholestep::optim
