// Steps in the units of the parameters: no rate to find.
#pragma once
#include "wholestep/optim/optimizer.h"

namespace wholestep::optim {

struct AdadeltaConfig {
  static constexpr const char
      *kType = "adadelta",
      *kDoc =
          "g += weight_decay p; v = rho v + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(v + eps) g; u = rho u + "
          "(1 - rho) d^2; p -= lr d";
  double lr = 1;
  double rho = 0.9;
  double eps = 1e-6;
  double weight_decay = 0;
  ConfigFields fields();
};

/// Zeiler 2012; slots "square_avg" v and "acc_delta" u. PyTorch's torch.optim.Adadelta.
class Adadelta final : public ConfiguredOptimizer<AdadeltaConfig> {
 public:
  explicit Adadelta(AdadeltaConfig config = {}) : ConfiguredOptimizer(config) {}

 protected:
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

}  // namespace wholestep::optim
