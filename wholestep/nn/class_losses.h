// Losses against class labels. Where a label is outside [0, C) they throw kUsage naming its place (eagerly;
// in a compiled step the loss is NaN, and the step changes nothing).
#pragma once
#include <optional>

#include "wholestep/nn/loss.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep::nn {

struct CrossEntropyConfig {
  static constexpr const char *kType = "cross-entropy",
                              *kDoc =
                                  "-log softmax(output)[label], or -sum(target * log softmax(output)) for "
                                  "probabilities as target";
  std::vector<double> weight = {};
  std::optional<int64_t> ignore_index = {};  ///< PyTorch ignores -100 unless told otherwise
  double label_smoothing = 0;
  std::string reduction = "mean";
  ConfigFields fields();
};
/// Of logits [N, C, ...] and labels u8, i32 or i64 [N, ...], or probabilities of the logits' type. The mean
/// divides by the sum of the labels' weights, without those ignored. PyTorch's nn.CrossEntropyLoss.
class CrossEntropyLoss final : public ConfiguredLoss<CrossEntropyConfig> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  Tensor total_weight(const Tensor& output, const Tensor& target) const override;
  void check(const Module& model) const override;  ///< refuses a model that ends in Softmax
};

struct NLLConfig {
  static constexpr const char *kType = "nll", *kDoc = "-output[label], of log-probabilities";
  std::vector<double> weight = {};
  std::optional<int64_t> ignore_index = {};
  std::string reduction = "mean";
  ConfigFields fields();
};
/// Of log-probabilities [N, C, ...] and labels [N, ...], as cross-entropy after LogSoftmax. PyTorch's
/// nn.NLLLoss.
class NLLLoss final : public ConfiguredLoss<NLLConfig> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
  Tensor total_weight(const Tensor& output, const Tensor& target) const override;
  Tensor probabilities(const Tensor& output) const override { return exp(output); }
  void check(const Module& model) const override { check_log_probabilities(name(), model); }
};

struct MultiMarginConfig {
  static constexpr const char
      *kType = "multi-margin",
      *kDoc = "hinge loss: sum of max(0, margin - output[label] + output[c])^p over c != label, over C";
  int64_t p = 1;
  double margin = 1;
  std::vector<double> weight = {};
  std::string reduction = "mean";
  ConfigFields fields();
};
/// Of scores [N, C] and labels [N]; Crammer & Singer 2001, PyTorch's nn.MultiMarginLoss.
class MultiMarginLoss final : public ConfiguredLoss<MultiMarginConfig> {
 public:
  using ConfiguredLoss::ConfiguredLoss;
  Tensor unreduced(const Tensor& output, const Tensor& target) const override;
};

}  // namespace wholestep::nn
