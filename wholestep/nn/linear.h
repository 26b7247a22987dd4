// The fully connected layer.
#pragma once
#include "wholestep/nn/layer.h"

namespace wholestep::nn {

struct LinearConfig {
  static constexpr const char* kType = "Linear";
  static constexpr const char* kDoc = "y = x W^T + b; x [..., in_features], y [..., out_features]";
  int64_t in_features = 0;
  int64_t out_features = 0;
  bool bias = true;
  ConfigFields fields() {
    return {{"in_features", &in_features, "extent of the last axis of x", {.min = 1}},
            {"out_features", &out_features, "extent of the last axis of y", {.min = 1}},
            {"bias", &bias, "add a learned vector b"}};
  }
};

/// Parameters weight [out_features, in_features], bias [out_features].
class Linear final : public ConfiguredLayer<LinearConfig> {
 public:
  explicit Linear(LinearConfig config, std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  ///< undefined where there is none

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override { init::linear_default(weight_, bias_, draws); }

 private:
  Tensor weight_, bias_;
};

}  // namespace wholestep::nn
