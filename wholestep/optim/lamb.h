// AdamW whose step is as long, relative to its tensor, in every layer: for large batches.
#pragma once
#include <array>

#include "wholestep/optim/adam.h"

namespace wholestep::optim {

struct LAMBConfig {
  static constexpr const char *kType = "lamb", *kDoc =
                                                   "adam's moments m and v, corrected; r = m / (sqrt(v) + "
                                                   "eps) + weight_decay p; p -= lr |p| / |r| r, where "
                                                   "a ratio with a norm of 0 is 1";
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-6;
  double weight_decay = 1e-2;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// You et al. 2020, algorithm 2, with phi the identity; norms are those of a whole parameter tensor; slots
/// "exp_avg" m and "exp_avg_sq" v.
class LAMB final : public ConfiguredOptimizer<LAMBConfig> {
 public:
  explicit LAMB(LAMBConfig config = {}) : ConfiguredOptimizer(config) {}

 protected:
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;
};

}  // namespace wholestep::optim
