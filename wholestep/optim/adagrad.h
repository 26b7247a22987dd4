// Gradients over the root of the sum of their squares.
#pragma once
#include "wholestep/optim/optimizer.h"

namespace wholestep::optim {

struct AdagradConfig {
  static constexpr const char
      *kType = "adagrad",
      *kDoc = "g += weight_decay p; s += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)";
  double lr = 1e-2;
  double lr_decay = 0;
  double weight_decay = 0;
  double initial_accumulator_value = 0;
  double eps = 1e-10;
  ConfigFields fields();
};

/// Duchi et al. 2011; slot "sum" s. PyTorch's torch.optim.Adagrad.
class Adagrad final : public ConfiguredOptimizer<AdagradConfig> {
 public:
  explicit Adagrad(AdagradConfig config = {}) : ConfiguredOptimizer(config) {}

 protected:
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

}  // namespace wholestep::optim
