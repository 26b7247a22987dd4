// Dropout: drawn anew for every step from the current RandomState.
#pragma once
#include "wholestep/nn/layer.h"
#include "wholestep/ops/random.h"

namespace wholestep::nn {

struct DropoutConfig {
  static constexpr const char
      *kType = "Dropout",
      *kDoc = "while training: 0 with probability p, else x / (1 - p); otherwise x (Srivastava et al. 2014)";
  double p = 0.5;
  ConfigFields fields() { return {{"p", &p, "probability of dropping an element", {.min = 0, .max = 1}}}; }
};
class Dropout final : public ConfiguredLayer<DropoutConfig> {
 public:
  explicit Dropout(DropoutConfig c = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override { return training() ? dropout(x, config().p) : x; }
};

}  // namespace wholestep::nn
