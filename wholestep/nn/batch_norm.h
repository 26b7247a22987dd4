// Batch normalisation layers: statistics of the batch while training, recorded ones in evaluation.
#pragma once
#include "wholestep/nn/layer.h"

namespace wholestep::nn {

struct BatchNormFields {
  static ConfigFields list(int64_t& num_features, double& eps, double& momentum, bool& affine);
};

struct BatchNorm1dConfig {
  static constexpr const char *kType = "BatchNorm1d",
                              *kDoc = "BatchNorm2d for x [N, num_features] or [N, num_features, L]";
  int64_t num_features = 0;
  double eps = 1e-5;
  double momentum = 0.1;
  bool affine = true;
  ConfigFields fields() { return BatchNormFields::list(num_features, eps, momentum, affine); }
};

struct BatchNorm2dConfig {
  static constexpr const char
      *kType = "BatchNorm2d",
      *kDoc =
          "y = (x - mean) / sqrt(var + eps) * weight + bias a channel of x "
          "[N, num_features, H, W]; of the batch while training, recorded otherwise (Ioffe & Szegedy 2015)";
  int64_t num_features = 0;
  double eps = 1e-5;
  double momentum = 0.1;
  bool affine = true;
  ConfigFields fields() { return BatchNormFields::list(num_features, eps, momentum, affine); }
};

/// Parameters weight and bias [num_features] where affine; buffers running_mean, running_var (unbiased)
/// [num_features] and num_batches_tracked (i64), updated by every call while training:
/// running = (1 - momentum) running + momentum batch. PyTorch's momentum=None, which records the mean of all
/// batches, and track_running_stats=False are not there.
template <class Config>
class BatchNorm final : public ConfiguredLayer<Config> {
 public:
  explicit BatchNorm(Config config, std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override;

 private:
  void record(const Tensor& mean, const Tensor& var, int64_t count);
  Tensor weight_, bias_, running_mean_, running_var_, num_batches_tracked_;
};

using BatchNorm1d = BatchNorm<BatchNorm1dConfig>;
using BatchNorm2d = BatchNorm<BatchNorm2dConfig>;

}  // namespace wholestep::nn
