// Stochastic gradient descent.
#pragma once
#include "wholestep/optim/optimizer.h"

namespace wholestep::optim {

struct SGDConfig {
  static constexpr const char *kType = "sgd",
                              *kDoc =
                                  "g += weight_decay p; v = momentum v + (1 - dampening) g, v = g at first; "
                                  "p -= lr v, or lr (g + momentum v) with Nesterov";
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// PyTorch's torch.optim.SGD; slot "momentum_buffer" where momentum is not 0.
class SGD final : public ConfiguredOptimizer<SGDConfig> {
 public:
  explicit SGD(SGDConfig config = {}) : ConfiguredOptimizer(config) {}

 protected:
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

}  // namespace wholestep::optim
