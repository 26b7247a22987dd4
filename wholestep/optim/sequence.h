// Schedules made of schedules, and of functions.
#pragma once
#include <functional>

#include "wholestep/optim/schedule.h"

namespace wholestep::optim {

/// schedules[i] from milestones[i - 1] on, counting from its own step 0; PyTorch's SequentialLR. kBadConfig
/// unless there is one more schedule than milestones, these rise, and no schedule is reduce-on-plateau.
class Sequence final : public Schedule {
 public:
  static constexpr const char *kType = "sequence",
                              *kDoc = "schedules[i] from step milestones[i - 1] on, each from its own step 0";
  Sequence(std::vector<std::shared_ptr<Schedule>> schedules, std::vector<int64_t> milestones);
  void set_run_steps(int64_t steps) override;  ///< the last schedule may cover what is left of the run
  std::string_view type() const override { return kType; }
  std::string description() const override;
  void write_spec(nlohmann::json& spec) const override;

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override;

 private:
  std::vector<std::shared_ptr<Schedule>> schedules_;
  std::vector<int64_t> milestones_;
};
/// The row of the registry: {"type": "sequence", "schedules": [{...}, {...}], "milestones": [100]}.
ConfigType<Schedule> sequence_type();

/// base * factor(t): any function over f64 scalar tensors; it becomes part of the step. PyTorch's LambdaLR.
class Lambda final : public Schedule {
 public:
  explicit Lambda(std::function<Tensor(const Tensor& t)> factor) : factor_(std::move(factor)) {}
  std::string_view type() const override { return "lambda"; }

 protected:
  Tensor after_warmup(const Tensor& base, const Tensor& t) const override { return base * factor_(t); }

 private:
  std::function<Tensor(const Tensor& t)> factor_;
};

}  // namespace wholestep::optim
