// Optimizer: parameters, their state, and the update of both as ops, so that a step runs at once or becomes
// part of a compiled step. Step counter and learning rate are state: changing the rate recompiles nothing,
// and eager and compiled steps agree bit for bit.
#pragma once
#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wholestep/optim/schedule.h"

namespace wholestep::optim {

/// A tensor that an optimizer keeps: its name in files, and every element's first value.
struct Slot {
  std::string name;
  double initial = 0;
};

/// An exponential moving average: share * old + (1 - share) * value.
inline Tensor moving_average(const Tensor& old, const Tensor& value, double share) {
  return old * share + value * (1 - share);
}

/// It minimises: what torch.optim does with maximize=True is to minimise the loss negated.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// From the next attach() on, parameters whose name fits `names` ("*.bias", where * is any text) are
  /// trained by `own`: another rate, other options or another kind of optimizer. The first group that fits
  /// takes a parameter; the schedule is that of this optimizer. kUsage where `own` has groups itself.
  void add_group(std::string names, std::shared_ptr<Optimizer> own);
  template <std::derived_from<Optimizer> Own>
  void add_group(std::string names, Own own) {
    add_group(std::move(names), std::make_shared<Own>(std::move(own)));
  }
  const std::vector<std::shared_ptr<Optimizer>>& groups() const { return groups_; }

  /// Takes over the training of these parameters, with fresh state. kUsage where there are none, where one is
  /// given twice or has no name, and where a group fits none.
  void attach(std::vector<Tensor> parameters);
  const std::vector<Tensor>& parameters() const { return parameters_; }

  /// One update from gradients in the order of parameters(), by assign(). kUsage where they do not fit.
  void step(std::span<const Tensor> grads);

  /// The base rate, an f64 scalar in state; groups have their own. A new value takes effect on the very next
  /// update.
  const Tensor& learning_rate() const { return learning_rate_; }
  void set_learning_rate(double rate) { learning_rate_.assign(scalar(rate, DType::f64)); }
  /// Updates made so far, an i64 scalar in state.
  const Tensor& step_count() const { return step_count_; }
  /// The rate of the next update: the schedule applied to the base rate.
  Tensor scheduled_rate() const;
  /// Set before the first step is traced; constant otherwise.
  void set_schedule(std::shared_ptr<Schedule> schedule) { schedule_ = std::move(schedule); }
  const std::shared_ptr<Schedule>& schedule() const { return schedule_; }

  /// Step counter, rates, what the schedule keeps, and every slot ("layers.0.weight.exp_avg"), under the
  /// names of files and graphs.
  std::vector<Tensor> state() const;

  virtual std::string_view type() const = 0;  ///< as on the command line: "adam"
  virtual std::string description() const { return std::string(type()); }
  /// Adds the form of config files to an object; kUsage for optimizers that have none.
  void write_spec(nlohmann::json& spec) const;

 protected:
  explicit Optimizer(double lr);
  Optimizer(Optimizer&&) = default;
  Optimizer& operator=(Optimizer&&) = default;

  /// Tensors kept for a parameter, each of its type.
  virtual std::vector<Slot> slots(const Tensor& parameter) const = 0;
  /// f64 scalars kept for all parameters together.
  virtual std::vector<Slot> shared_slots() const { return {}; }
  /// What all parameters' updates share: the new values of `kept`, which are the shared slots, then whatever
  /// update() wants to know of the rate and of t, the number of this update from 1, both f64 scalars.
  virtual std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                                      std::span<const Tensor> kept) const = 0;
  /// The new values of the parameter and of its slots; f64 scalars come rounded to the parameter's dtype.
  virtual std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad,
                                     std::span<const Tensor> slots,
                                     std::span<const Tensor> scalars) const = 0;
  virtual void write_options(nlohmann::json& spec) const;

 private:
  /// This optimizer, then its groups; index 0 trains what no group takes.
  const Optimizer& member(size_t index) const { return index == 0 ? *this : *groups_[index - 1]; }
  size_t member_for(const std::string& name) const;
  void make_shared_state(const std::string& prefix);

  std::vector<Tensor> parameters_;
  std::vector<size_t> members_;             // per parameter
  std::vector<std::vector<Tensor>> slots_;  // per parameter
  std::vector<Tensor> shared_;
  Tensor learning_rate_, step_count_;
  std::shared_ptr<Schedule> schedule_ = std::make_shared<Constant>();
  std::vector<std::string> group_names_;
  std::vector<std::shared_ptr<Optimizer>> groups_;
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

 protected:
  void write_options(nlohmann::json& spec) const override { write_config(spec, config_); }
  explicit ConfiguredOptimizer(Config config)
      : Optimizer(config.lr),
        config_(checked_config(std::string("optimizer ") + Config::kType, std::move(config))) {}

 private:
  Config config_;
};

const std::vector<ConfigType<Optimizer>>& optimizer_types();  ///< those that files can name
/// From {"type": "adam", "lr": 0.001, "groups": [{"parameters": "*.bias", "lr": 0.01}], ...}; null where
/// problems are left in the reader. A group without a type has the options around it, but for those it gives.
std::unique_ptr<Optimizer> read_optimizer(ConfigReader& reader);

}  // namespace wholestep::optim
