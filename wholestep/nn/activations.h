// Layers that are one function of their input and have nothing to learn.
#pragma once
#include "wholestep/nn/layer.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/softmax.h"

namespace wholestep::nn {

/// A layer without fields that applies one op.
template <class Config, Tensor (*function)(const Tensor&)>
class FunctionLayer final : public ConfiguredLayer<Config> {
 public:
  explicit FunctionLayer(Config config = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer<Config>(config, where) {}
  Tensor forward(const Tensor& x) override { return function(x); }
};

inline Tensor identity(const Tensor& x) { return x; }

struct IdentityConfig {
  static constexpr const char *kType = "Identity", *kDoc = "y = x";
  ConfigFields fields() { return {}; }
};
struct ReLUConfig {
  static constexpr const char *kType = "ReLU", *kDoc = "y = max(x, 0)";
  ConfigFields fields() { return {}; }
};
struct TanhConfig {
  static constexpr const char *kType = "Tanh", *kDoc = "y = tanh(x)";
  ConfigFields fields() { return {}; }
};
struct SigmoidConfig {
  static constexpr const char *kType = "Sigmoid", *kDoc = "y = 1 / (1 + exp(-x))";
  ConfigFields fields() { return {}; }
};
struct GELUConfig {
  static constexpr const char *kType = "GELU",
                              *kDoc = "y = x Phi(x), exact, Phi the normal distribution function";
  ConfigFields fields() { return {}; }
};
struct SiLUConfig {
  static constexpr const char *kType = "SiLU", *kDoc = "y = x / (1 + exp(-x))";
  ConfigFields fields() { return {}; }
};

using Identity = FunctionLayer<IdentityConfig, identity>;
using ReLU = FunctionLayer<ReLUConfig, relu>;
using Tanh = FunctionLayer<TanhConfig, tanh>;
using Sigmoid = FunctionLayer<SigmoidConfig, sigmoid>;
using GELU = FunctionLayer<GELUConfig, gelu>;
using SiLU = FunctionLayer<SiLUConfig, silu>;

struct LeakyReLUConfig {
  static constexpr const char *kType = "LeakyReLU", *kDoc = "y = x where x > 0, else negative_slope * x";
  double negative_slope = 0.01;
  ConfigFields fields() { return {{"negative_slope", &negative_slope, "slope below 0"}}; }
};
class LeakyReLU final : public ConfiguredLayer<LeakyReLUConfig> {
 public:
  explicit LeakyReLU(LeakyReLUConfig c = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override { return leaky_relu(x, config().negative_slope); }
};

struct SoftmaxConfig {
  static constexpr const char *kType = "Softmax",
                              *kDoc = "y = exp(x) / sum exp(x) over dim; not under a cross-entropy loss";
  int64_t dim = -1;
  ConfigFields fields() { return {{"dim", &dim, "axis; negative ones count from the last"}}; }
};
class Softmax final : public ConfiguredLayer<SoftmaxConfig> {
 public:
  explicit Softmax(SoftmaxConfig c = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override { return softmax(x, config().dim); }
};

}  // namespace wholestep::nn
