// Adam and AdamW, with or without AMSGrad: the same moments, weight decay inside the gradient or beside it.
#pragma once
#include <array>

#include "wholestep/optim/optimizer.h"

namespace wholestep::optim {

/// The fields that the kin of Adam share: lr, betas, eps, weight_decay.
template <class Config>
ConfigFields adam_fields(Config& c, const char* decay_doc) {
  return {
      {"lr", &c.lr, "learning rate", {.min = 0}},
      {"betas", &c.betas, "share of the old moments that is kept, first and second", {.min = 0, .max = 1}},
      {"eps", &c.eps, "added to the root of the second moment", {.min = 0}},
      {"weight_decay", &c.weight_decay, decay_doc, {.min = 0}}};
}
/// What is wrong with shares of old moments.
std::vector<std::string> problems_of_betas(const std::array<double, 2>& betas);

constexpr const char* kDecayInGradient = "pull towards 0, added to the gradient";
constexpr const char* kDecayBeside = "share of a weight taken off per step, times lr";

struct AdamConfig {
  static constexpr const char *kType = "adam",
                              *kDoc =
                                  "g += weight_decay p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; "
                                  "p -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps); with amsgrad, "
                                  "v there is the largest so far";
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  bool amsgrad = false;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

struct AdamWConfig {
  static constexpr const char *kType = "adamw", *kDoc = "p -= lr weight_decay p, then adam without decay";
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 1e-2;
  bool amsgrad = false;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Kingma & Ba 2015 with Config = AdamConfig, Loshchilov & Hutter 2019 with AdamWConfig, amsgrad: Reddi et
/// al. 2018; slots "exp_avg" m, "exp_avg_sq" v and, with amsgrad, "max_exp_avg_sq". PyTorch's
/// torch.optim.Adam and AdamW.
template <class Config>
class AdamFamily final : public ConfiguredOptimizer<Config> {
 public:
  explicit AdamFamily(Config config = {}) : ConfiguredOptimizer<Config>(config) {}

  // Public for optimizers that leave some parameters to this one.
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

using Adam = AdamFamily<AdamConfig>;
using AdamW = AdamFamily<AdamWConfig>;

}  // namespace wholestep::optim
