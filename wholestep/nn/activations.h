// Layers that are one function of every element, or of the elements of one axis.
#pragma once
#include "wholestep/nn/layer.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/pointwise.h"
#include "wholestep/ops/softmax.h"

namespace wholestep::nn {

// A layer without fields that applies one op.
template <class Config, Tensor (*function)(const Tensor&)>
class FunctionLayer final : public ConfiguredLayer<Config> {
 public:
  explicit FunctionLayer(Config config = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer<Config>(config, where) {}
  Tensor forward(const Tensor& x) override { return function(x); }
};

inline Tensor identity(const Tensor& x) { return x; }  ///< x

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
struct SiLUConfig {
  static constexpr const char *kType = "SiLU", *kDoc = "y = x / (1 + exp(-x)) (Elfwing et al. 2017)";
  ConfigFields fields() { return {}; }
};

struct SELUConfig {
  static constexpr const char
      *kType = "SELU",
      *kDoc = "y = 1.0507 x where x > 0, else 1.7581 (exp(x) - 1) (Klambauer et al. 2017)";
  ConfigFields fields() { return {}; }
};
struct MishConfig {
  static constexpr const char *kType = "Mish", *kDoc = "y = x tanh(log(1 + exp(x))) (Misra 2019)";
  ConfigFields fields() { return {}; }
};
struct HardswishConfig {
  static constexpr const char *kType = "Hardswish",
                              *kDoc = "y = x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)";
  ConfigFields fields() { return {}; }
};

using Identity = FunctionLayer<IdentityConfig, identity>;
using ReLU = FunctionLayer<ReLUConfig, relu>;
using Tanh = FunctionLayer<TanhConfig, tanh>;
using Sigmoid = FunctionLayer<SigmoidConfig, sigmoid>;
using SiLU = FunctionLayer<SiLUConfig, silu>;
using SELU = FunctionLayer<SELUConfig, selu>;
using Mish = FunctionLayer<MishConfig, mish>;
using Hardswish = FunctionLayer<HardswishConfig, hardswish>;

struct GELUConfig {
  static constexpr const char
      *kType = "GELU",
      *kDoc = "y = x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016)";
  std::string approximate = "none";
  ConfigFields fields() {
    return {{"approximate", &approximate, "none: exact; tanh: by a tanh", {}, {"none", "tanh"}}};
  }
};
class GELU final : public ConfiguredLayer<GELUConfig> {
 public:
  explicit GELU(GELUConfig c = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override { return config().approximate == "tanh" ? gelu_tanh(x) : gelu(x); }
};

struct ELUConfig {
  static constexpr const char *kType = "ELU",
                              *kDoc = "y = x where x > 0, else alpha (exp(x) - 1) (Clevert et al. 2016)";
  double alpha = 1;
  ConfigFields fields() { return {{"alpha", &alpha, "minus the value far below 0"}}; }
};
class ELU final : public ConfiguredLayer<ELUConfig> {
 public:
  explicit ELU(ELUConfig c = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override { return elu(x, config().alpha); }
};

struct SoftplusConfig {
  static constexpr const char *kType = "Softplus", *kDoc = "y = log(1 + exp(beta x)) / beta";
  double beta = 1;
  double threshold = 20;
  ConfigFields fields() {
    return {{"beta", &beta, "steepness"}, {"threshold", &threshold, "y = x where beta x is above"}};
  }
};
class Softplus final : public ConfiguredLayer<SoftplusConfig> {
 public:
  explicit Softplus(SoftplusConfig c = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override { return softplus(x, config().beta, config().threshold); }
};

struct PReLUConfig {
  static constexpr const char *kType = "PReLU",
                              *kDoc = "y = x where x > 0, else a x with a learned slope a (He et al. 2015)";
  int64_t num_parameters = 1;
  double init = 0.25;
  ConfigFields fields() {
    return {{"num_parameters", &num_parameters, "1, or one slope for every channel of x", {.min = 1}},
            {"init", &init, "the slope at first"}};
  }
};
/// Parameter weight [num_parameters].
class PReLU final : public ConfiguredLayer<PReLUConfig> {
 public:
  explicit PReLU(PReLUConfig c = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where), weight_(new_parameter({c.num_parameters})) {}
  Tensor forward(const Tensor& x) override { return prelu(x, weight_); }

 protected:
  void members(MemberVisitor& member) override { member.parameter("weight", weight_); }
  void reset_parameters(const init::Draws&) override { init::constant(weight_, config().init); }

 private:
  Tensor weight_;
};

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

struct LogSoftmaxConfig {
  static constexpr const char *kType = "LogSoftmax", *kDoc = "y = x - log sum exp(x) over dim";
  int64_t dim = -1;
  ConfigFields fields() { return {{"dim", &dim, "axis; negative ones count from the last"}}; }
};
class LogSoftmax final : public ConfiguredLayer<LogSoftmaxConfig> {
 public:
  explicit LogSoftmax(LogSoftmaxConfig c = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override { return log_softmax(x, config().dim); }
};

}  // namespace wholestep::nn
