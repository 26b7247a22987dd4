// Normalisation layers whose statistics are those of each sample, the same while training and in evaluation.
#pragma once
#include "wholestep/nn/layer.h"

namespace wholestep::nn {

struct LayerNormConfig {
  static constexpr const char
      *kType = "LayerNorm",
      *kDoc = "y = (x - mean) / sqrt(var + eps) * weight + bias over the last axes (Ba et al. 2016)";
  std::vector<int64_t> normalized_shape = {0};
  double eps = 1e-5;
  bool elementwise_affine = true;
  bool bias = true;
  ConfigFields fields();
};
/// Parameters weight and bias of normalized_shape where elementwise_affine, bias also only where bias.
class LayerNorm final : public ConfiguredLayer<LayerNormConfig> {
 public:
  explicit LayerNorm(LayerNormConfig config, std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override;

 private:
  Tensor weight_, bias_;
};

struct RMSNormConfig {
  static constexpr const char
      *kType = "RMSNorm",
      *kDoc = "y = x / sqrt(mean of x^2 + eps) * weight over the last axes (Zhang & Sennrich 2019)";
  std::vector<int64_t> normalized_shape = {0};
  double eps = 0x1p-23;
  bool elementwise_affine = true;
  ConfigFields fields();
};
/// Parameter weight of normalized_shape where elementwise_affine.
class RMSNorm final : public ConfiguredLayer<RMSNormConfig> {
 public:
  explicit RMSNorm(RMSNormConfig config, std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;

 protected:
  void members(MemberVisitor& member) override { member.parameter("weight", weight_); }
  void reset_parameters(const init::Draws& draws) override;

 private:
  Tensor weight_;
};

struct GroupNormConfig {
  static constexpr const char
      *kType = "GroupNorm",
      *kDoc = "LayerNorm over groups of channels of x [N, num_channels, ...] (Wu & He 2018)";
  int64_t num_groups = 0;
  int64_t num_channels = 0;
  double eps = 1e-5;
  bool affine = true;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};
/// Parameters weight and bias [num_channels] where affine.
class GroupNorm final : public ConfiguredLayer<GroupNormConfig> {
 public:
  explicit GroupNorm(GroupNormConfig config, std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override;

 private:
  Tensor weight_, bias_;
};

}  // namespace wholestep::nn
