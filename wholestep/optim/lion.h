// The sign of a momentum: every element moves by the rate.
#pragma once
#include <array>

#include "wholestep/optim/optimizer.h"

namespace wholestep::optim {

struct LionConfig {
  static constexpr const char *kType = "lion",
                              *kDoc =
                                  "p -= lr (sign(b1 m + (1 - b1) g) + weight_decay p); m = b2 m + (1 - b2) g";
  double lr = 1e-4;
  std::array<double, 2> betas = {0.9, 0.99};
  double weight_decay = 0;
  ConfigFields fields();
};

/// Chen et al. 2023, algorithm 2; slot "exp_avg" m.
class Lion final : public ConfiguredOptimizer<LionConfig> {
 public:
  explicit Lion(LionConfig config = {}) : ConfiguredOptimizer(config) {}

 protected:
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

}  // namespace wholestep::optim
