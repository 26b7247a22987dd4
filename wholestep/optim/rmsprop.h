// Gradients over the root of their mean square.
#pragma once
#include "wholestep/optim/optimizer.h"

namespace wholestep::optim {

struct RMSpropConfig {
  static constexpr const char *kType = "rmsprop",
                              *kDoc =
                                  "g += weight_decay p; v = alpha v + (1 - alpha) g^2; s = sqrt(v), or "
                                  "sqrt(v - a^2) with a = alpha a + "
                                  "(1 - alpha) g where centered; b = momentum b + g / (s + eps); p -= lr b";
  double lr = 1e-2;
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum = 0;
  bool centered = false;
  ConfigFields fields();
};

/// Tieleman & Hinton 2012, centered: Graves 2013; slots "square_avg" v, "grad_avg" a where centered and
/// "momentum_buffer" b where momentum is not 0. PyTorch's torch.optim.RMSprop.
class RMSprop final : public ConfiguredOptimizer<RMSpropConfig> {
 public:
  explicit RMSprop(RMSpropConfig config = {}) : ConfiguredOptimizer(config) {}

 protected:
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

}  // namespace wholestep::optim
