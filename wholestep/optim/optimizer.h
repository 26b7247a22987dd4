// Optimizer: parameters, their state, and the update of both as ops, so that a step runs at once or becomes
// part of a compiled step. Step counter and learning rate are state: changing the rate recompiles nothing,
// and eager and compiled steps agree bit for bit.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wholestep/optim/schedule.h"

namespace wholestep::optim {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Takes over the training of these parameters, with fresh state. kUsage where there are none, where one is
  /// given twice or has no name.
  void attach(std::vector<Tensor> parameters);
  const std::vector<Tensor>& parameters() const { return parameters_; }

  /// One update from gradients in the order of parameters(), by assign(). kUsage where they do not fit.
  void step(std::span<const Tensor> grads);

  /// The base rate, an f64 scalar in state. A new value takes effect on the very next update.
  const Tensor& learning_rate() const { return learning_rate_; }
  void set_learning_rate(double rate) { learning_rate_.assign(scalar(rate, DType::f64)); }
  /// Updates made so far, an i64 scalar in state.
  const Tensor& step_count() const { return step_count_; }
  /// The rate of the next update: the schedule applied to the base rate.
  Tensor scheduled_rate() const;
  /// Set before the first step is traced; constant otherwise.
  void set_schedule(std::shared_ptr<Schedule> schedule) { schedule_ = std::move(schedule); }
  const std::shared_ptr<Schedule>& schedule() const { return schedule_; }

  /// Step counter, rate and every slot ("layers.0.weight.exp_avg"), under the names of files and graphs.
  std::vector<Tensor> state() const;

  virtual std::string_view type() const = 0;  ///< as on the command line: "adam"
  virtual std::string description() const { return std::string(type()); }
  /// Adds the form of config files to an object; kUsage for optimizers that have none.
  virtual void write_spec(nlohmann::json& spec) const;

 protected:
  explicit Optimizer(double lr);
  Optimizer(Optimizer&&) = default;
  Optimizer& operator=(Optimizer&&) = default;

  /// Names of the tensors kept per parameter, each of its type, zero at first.
  virtual std::vector<std::string> slots() const = 0;
  /// What all parameters' updates share: f64 (or bool) scalars of the rate and of t, the number of this
  /// update from 1, both f64.
  virtual std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t) const = 0;
  /// The new values of the parameter and of its slots.
  virtual std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad,
                                     std::span<const Tensor> slots,
                                     std::span<const Tensor> scalars) const = 0;

 private:
  std::vector<Tensor> parameters_;
  std::vector<std::vector<Tensor>> slots_;  // per parameter
  Tensor learning_rate_, step_count_;
  std::shared_ptr<Schedule> schedule_ = std::make_shared<Constant>();
};

/// Config: kType, kDoc, lr, fields().
template <class ConfigStruct>
class ConfiguredOptimizer : public Optimizer {
 public:
  using Config = ConfigStruct;
  const Config& config() const { return config_; }
  std::string_view type() const override { return Config::kType; }
  std::string description() const override {
    return std::string(Config::kType) + "(" + print_config(config_) + ")";
  }
  void write_spec(nlohmann::json& spec) const override { write_config(spec, config_); }

 protected:
  explicit ConfiguredOptimizer(Config config)
      : Optimizer(config.lr),
        config_(checked_config(std::string("optimizer ") + Config::kType, std::move(config))) {}

 private:
  Config config_;
};

const std::vector<ConfigType<Optimizer>>& optimizer_types();
/// From {"type": "adam", "lr": 0.001, ...}; null where problems are left in the reader.
std::unique_ptr<Optimizer> read_optimizer(ConfigReader& reader);

}  // namespace wholestep::optim
