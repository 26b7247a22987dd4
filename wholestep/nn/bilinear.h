// Layers that are a product with their weight in another way than Linear.
#pragma once
#include "wholestep/nn/layer.h"

namespace wholestep::nn {

struct BilinearConfig {
  static constexpr const char *kType = "Bilinear",
                              *kDoc =
                                  "y = x1^T W x2 + b for every output; of one input x, x1 and x2 are both x";
  int64_t in1_features = 0;
  int64_t in2_features = 0;
  int64_t out_features = 0;
  bool bias = true;
  ConfigFields fields();
};

/// Parameters weight [out_features, in1_features, in2_features], bias [out_features], uniform in
/// +-1/sqrt(in1_features).
class Bilinear final : public ConfiguredLayer<BilinearConfig> {
 public:
  explicit Bilinear(BilinearConfig config, std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override { return product(x, x); }
  using Module::operator();
  /// x1 [..., in1_features], x2 [..., in2_features] with equal leading axes -> [..., out_features].
  Tensor operator()(const Tensor& x1, const Tensor& x2) {
    return call(x1, [&] { return product(x1, x2); });
  }

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override;

 private:
  Tensor product(const Tensor& x1, const Tensor& x2) const;
  Tensor weight_, bias_;
};

struct DropConnectConfig {
  static constexpr const char
      *kType = "DropConnect",
      *kDoc = "Linear whose weights, while training, are 0 with probability p, else W / (1 - p)";
  int64_t in_features = 0;
  int64_t out_features = 0;
  double p = 0.5;
  bool bias = true;
  ConfigFields fields();
};

/// Wan et al. 2013. Parameters as those of Linear.
class DropConnect final : public ConfiguredLayer<DropConnectConfig> {
 public:
  explicit DropConnect(DropConnectConfig config,
                       std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override { init::linear_default(weight_, bias_, draws); }

 private:
  Tensor weight_, bias_;
};

}  // namespace wholestep::nn
