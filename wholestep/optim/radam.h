// Adam whose step size is rectified while the second moment is uncertain.
#pragma once
#include <array>

#include "wholestep/optim/adam.h"

namespace wholestep::optim {

struct RAdamConfig {
  static constexpr const char *kType = "radam",
                              *kDoc =
                                  "adam with p -= lr r m / (1 - b1^t) / ((sqrt(v) + eps) / sqrt(1 - b2^t)), "
                                  "r = sqrt((rho_t - 4) (rho_t - 2) "
                                  "rho / ((rho - 4) (rho - 2) rho_t)), rho = 2 / (1 - b2) - 1, rho_t = rho - "
                                  "2 t b2^t / (1 - b2^t); p -= lr m / (1 - b1^t) where rho_t is at most 5";
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled_weight_decay = false;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Liu et al. 2020; slots "exp_avg" and "exp_avg_sq". PyTorch's torch.optim.RAdam.
class RAdam final : public ConfiguredOptimizer<RAdamConfig> {
 public:
  explicit RAdam(RAdamConfig config = {}) : ConfiguredOptimizer(config) {}

 protected:
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

}  // namespace wholestep::optim
