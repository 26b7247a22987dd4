// Flatten: the step from images to rows of features.
#pragma once
#include "wholestep/nn/layer.h"
#include "wholestep/ops/shape.h"

namespace wholestep::nn {

struct FlattenConfig {
  static constexpr const char *kType = "Flatten", *kDoc = "axes from start_dim on merged into one";
  int64_t start_dim = 1;
  ConfigFields fields() { return {{"start_dim", &start_dim, "first axis that is merged"}}; }
};
class Flatten final : public ConfiguredLayer<FlattenConfig> {
 public:
  explicit Flatten(FlattenConfig c = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override { return flatten(x, config().start_dim); }
};

}  // namespace wholestep::nn
