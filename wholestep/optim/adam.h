// Adam and AdamW: the same moments, weight decay inside the gradient or beside it.
#pragma once
#include <array>

#include "wholestep/optim/optimizer.h"

namespace wholestep::optim {

struct AdamConfig {
  static constexpr const char *kType = "adam",
                              *kDoc =
                                  "g += weight_decay p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; "
                                  "p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)";
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

struct AdamWConfig {
  static constexpr const char *kType = "adamw", *kDoc = "p -= lr weight_decay p, then adam without decay";
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 1e-2;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Kingma & Ba 2015 with Config = AdamConfig, Loshchilov & Hutter 2019 with AdamWConfig; slots "exp_avg" m
/// and "exp_avg_sq" v. PyTorch's torch.optim.Adam and AdamW.
template <class Config>
class AdamFamily final : public ConfiguredOptimizer<Config> {
 public:
  explicit AdamFamily(Config config = {}) : ConfiguredOptimizer<Config>(config) {}

 protected:
  std::vector<std::string> slots() const override { return {"exp_avg", "exp_avg_sq"}; }
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

using Adam = AdamFamily<AdamConfig>;
using AdamW = AdamFamily<AdamWConfig>;

}  // namespace wholestep::optim
