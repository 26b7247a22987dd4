// Adam with the largest gradient in place of the second moment.
#pragma once
#include <array>

#include "wholestep/optim/adam.h"

namespace wholestep::optim {

struct AdamaxConfig {
  static constexpr const char
      *kType = "adamax",
      *kDoc =
          "g += weight_decay p; m = b1 m + (1 - b1) g; u = max(b2 u, |g| + eps); p -= lr / (1 - b1^t) m / u";
  double lr = 2e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Kingma & Ba 2015, section 7; slots "exp_avg" m and "exp_inf" u. PyTorch's torch.optim.Adamax.
class Adamax final : public ConfiguredOptimizer<AdamaxConfig> {
 public:
  explicit Adamax(AdamaxConfig config = {}) : ConfiguredOptimizer(config) {}

 protected:
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

}  // namespace wholestep::optim
