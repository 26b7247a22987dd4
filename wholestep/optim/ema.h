// Averages of weights over the steps of training, which often do better than the last weights.
#pragma once
#include <vector>

#include "wholestep/graph/tensor.h"

namespace wholestep::optim {

/// Exponential moving averages of parameters (Polyak & Juditsky 1992): after the first update the parameters
/// themselves, after each later one decay * average + (1 - decay) * parameter. PyTorch's
/// swa_utils.AveragedModel with get_ema_multi_avg_fn(decay).
class Ema {
 public:
  /// kUsage unless the parameters have names and `decay` is in [0, 1).
  explicit Ema(std::vector<Tensor> parameters, double decay = 0.999);
  /// To be called after each step of the optimizer, by assign(): where that is traced it becomes part of the
  /// step.
  void update() const;
  /// In the order of the parameters, each of its type: state "layers.0.weight.ema".
  const std::vector<Tensor>& averages() const { return averages_; }
  /// Gives the parameters the averages, by assign().
  void apply() const;
  /// The averages, and the number of updates as an i64 scalar.
  std::vector<Tensor> state() const;

 private:
  std::vector<Tensor> parameters_, averages_;
  Tensor updates_;
  double decay_;
};

}  // namespace wholestep::optim
