// Adam with Nesterov momentum.
#pragma once
#include <array>

#include "wholestep/optim/adam.h"

namespace wholestep::optim {

struct NAdamConfig {
  static constexpr const char
      *kType = "nadam",
      *kDoc =
          "adam, stepping along the next first moment: mu_t = b1 (1 - 0.96^(t momentum_decay) / 2); p -= lr "
          "((1 - mu_t) / (1 - prod mu) g + mu_(t+1) / (1 - mu_(t+1) prod mu) m) "
          "/ (sqrt(v / (1 - b2^t)) + eps)";
  double lr = 2e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum_decay = 4e-3;
  bool decoupled_weight_decay = false;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Dozat 2016; slots "exp_avg" and "exp_avg_sq", and "mu_product" for all parameters. PyTorch's
/// torch.optim.NAdam.
class NAdam final : public ConfiguredOptimizer<NAdamConfig> {
 public:
  explicit NAdam(NAdamConfig config = {}) : ConfiguredOptimizer(config) {}

 protected:
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Slot> shared_slots() const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

}  // namespace wholestep::optim
