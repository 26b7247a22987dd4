// Flatten and Reshape: the same elements under another shape.
#pragma once
#include "wholestep/nn/layer.h"
#include "wholestep/ops/shape.h"

namespace wholestep::nn {

struct FlattenConfig {
  static constexpr const char *kType = "Flatten", *kDoc = "axes from start_dim on merged into one";
  int64_t start_dim = 1;
  ConfigFields fields() { return {{"start_dim", &start_dim, "first axis that is merged"}}; }
};
/// PyTorch's nn.Flatten with end_dim = -1; flatten() takes both.
class Flatten final : public ConfiguredLayer<FlattenConfig> {
 public:
  explicit Flatten(FlattenConfig c = {}, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override { return flatten(x, config().start_dim); }
};

struct ReshapeConfig {
  static constexpr const char
      *kType = "Reshape",
      *kDoc = "the same elements of every sample under another shape: x [N, ...] to [N, shape...]";
  std::vector<int64_t> shape = {};
  ConfigFields fields() {
    return {{"shape", &shape, "of a sample, without the batch axis; one extent may be -1", {.min = -1}}};
  }
};
class Reshape final : public ConfiguredLayer<ReshapeConfig> {
 public:
  explicit Reshape(ReshapeConfig c, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override {
    std::vector<int64_t> shape = config().shape;
    shape.insert(shape.begin(), x.dim(0));
    return reshape(x, shape);
  }
};

}  // namespace wholestep::nn
