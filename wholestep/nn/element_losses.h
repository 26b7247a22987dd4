// Losses against a target of the output's shape and dtype, element by element; nothing broadcasts. Class
// labels are made one-hot targets.
#pragma once
#include "wholestep/nn/loss.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep::nn {

struct MSEConfig {
  static constexpr const char *kType = "mse", *kDoc = "(output - target)^2";
  std::string reduction = "mean";
  ConfigFields fields();
};
/// PyTorch's nn.MSELoss.
class MSELoss final : public ConfiguredLoss<MSEConfig> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  bool regresses() const override { return true; }
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  Tensor target_of(const Tensor& labels, const Tensor& output) const override {
    return one_hot_like(labels, output);
  }
};

struct L1Config {
  static constexpr const char *kType = "l1", *kDoc = "|output - target|";
  std::string reduction = "mean";
  ConfigFields fields();
};
/// PyTorch's nn.L1Loss.
class L1Loss final : public ConfiguredLoss<L1Config> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  bool regresses() const override { return true; }
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  Tensor target_of(const Tensor& labels, const Tensor& output) const override {
    return one_hot_like(labels, output);
  }
};

struct SmoothL1Config {
  static constexpr const char *kType = "smooth-l1",
                              *kDoc =
                                  "d^2 / (2 beta) where |d| < beta, else |d| - beta / 2; d = output - target";
  double beta = 1;
  std::string reduction = "mean";
  ConfigFields fields();
};
/// Girshick 2015; PyTorch's nn.SmoothL1Loss.
class SmoothL1Loss final : public ConfiguredLoss<SmoothL1Config> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  bool regresses() const override { return true; }
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  Tensor target_of(const Tensor& labels, const Tensor& output) const override {
    return one_hot_like(labels, output);
  }
};

struct HuberConfig {
  static constexpr const char
      *kType = "huber",
      *kDoc = "d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); d = output - target";
  double delta = 1;
  std::string reduction = "mean";
  ConfigFields fields();
  std::vector<std::string> problems() const;
};
/// Huber 1964; PyTorch's nn.HuberLoss.
class HuberLoss final : public ConfiguredLoss<HuberConfig> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  bool regresses() const override { return true; }
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  Tensor target_of(const Tensor& labels, const Tensor& output) const override {
    return one_hot_like(labels, output);
  }
};

struct BCEConfig {
  static constexpr const char *kType = "bce", *kDoc =
                                                  "-(target log(output) + (1 - target) log(1 - output)), of "
                                                  "probabilities; logarithms are at least -100";
  std::string reduction = "mean";
  ConfigFields fields();
};
/// kUsage naming the place of an output outside [0, 1] (eagerly; compiled, the loss is NaN). PyTorch's
/// nn.BCELoss, whose gradient at outputs of exactly 0 and 1 that are right is 0 where this one's is 1 and -1.
class BCELoss final : public ConfiguredLoss<BCEConfig> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  Tensor target_of(const Tensor& labels, const Tensor& output) const override {
    return one_hot_like(labels, output);
  }
  Tensor probabilities(const Tensor& output) const override { return two_columns(output); }
  void check(const Module& model) const override;  ///< refuses a model that ends in Linear
};

struct BCEWithLogitsConfig {
  static constexpr const char *kType = "bce-with-logits",
                              *kDoc = "bce of sigmoid(output), exact for any logit";
  std::vector<double> pos_weight = {};
  std::string reduction = "mean";
  ConfigFields fields();
};
/// pos_weight: of each column's target, along the last axis. PyTorch's nn.BCEWithLogitsLoss.
class BCEWithLogitsLoss final : public ConfiguredLoss<BCEWithLogitsConfig> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  Tensor target_of(const Tensor& labels, const Tensor& output) const override {
    return one_hot_like(labels, output);
  }
  Tensor probabilities(const Tensor& output) const override { return two_columns(sigmoid(output)); }
  void check(const Module& model) const override;  ///< refuses a model that ends in Sigmoid
};

struct FocalConfig {
  static constexpr const char
      *kType = "focal",
      *kDoc =
          "alpha_t (1 - p_t)^gamma bce-with-logits, p_t the probability of the target and alpha_t alpha for "
          "targets 1, 1 - alpha for 0; a negative alpha weighs all alike";
  double alpha = 0.25;
  double gamma = 2;
  std::string reduction = "mean";
  ConfigFields fields();
};
/// Lin et al. 2017; torchvision's sigmoid_focal_loss, whose reduction is "none" unless told otherwise.
class FocalLoss final : public ConfiguredLoss<FocalConfig> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  Tensor target_of(const Tensor& labels, const Tensor& output) const override {
    return one_hot_like(labels, output);
  }
  Tensor probabilities(const Tensor& output) const override { return two_columns(sigmoid(output)); }
  void check(const Module& model) const override;  ///< refuses a model that ends in Sigmoid
};

struct KLDivConfig {
  static constexpr const char *kType = "kl-div",
                              *kDoc =
                                  "target (log target - output), of log-probabilities as output; with "
                                  "log_target of log-probabilities as target too";
  bool log_target = false;
  std::string reduction = "mean";
  ConfigFields fields();
};
/// Kullback & Leibler 1951; PyTorch's nn.KLDivLoss, with its reduction "batchmean" beside the others.
class KLDivLoss final : public ConfiguredLoss<KLDivConfig> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  void check(const Module& model) const override { check_log_probabilities(name(), model); }
  Tensor target_of(const Tensor& labels, const Tensor& output) const override {
    return one_hot_like(labels, output);
  }
};

struct HingeEmbeddingConfig {
  static constexpr const char *kType = "hinge-embedding",
                              *kDoc = "output where target is 1, max(0, margin - output) where it is -1";
  double margin = 1;
  std::string reduction = "mean";
  ConfigFields fields();
};
/// PyTorch's nn.HingeEmbeddingLoss.
class HingeEmbeddingLoss final : public ConfiguredLoss<HingeEmbeddingConfig> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  Tensor target_of(const Tensor& labels, const Tensor& output) const override;  ///< 1 or -1 a class
};

}  // namespace wholestep::nn
