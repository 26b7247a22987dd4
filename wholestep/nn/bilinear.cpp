// Bilinear and DropConnect.
#include "wholestep/nn/bilinear.h"

#include <fmt/format.h>

#include <cmath>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/random.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"

namespace wholestep::nn {

ConfigFields BilinearConfig::fields() {
  return {{"in1_features", &in1_features, "extent of the last axis of x1", {.min = 1}},
          {"in2_features", &in2_features, "extent of the last axis of x2", {.min = 1}},
          {"out_features", &out_features, "extent of the last axis of y", {.min = 1}},
          {"bias", &bias, "add a learned vector b"}};
}

Bilinear::Bilinear(BilinearConfig c, std::source_location where)
    : ConfiguredLayer(c, where), weight_(new_parameter({c.out_features, c.in1_features, c.in2_features})) {
  if (c.bias) bias_ = new_parameter({c.out_features});
}

/// x1 W for all outputs is one product; its rows meet x2 element by element.
Tensor Bilinear::product(const Tensor& x1, const Tensor& x2) const {
  const Config& c = config();
  auto leading = [](const Tensor& x) { return std::vector<int64_t>(x.shape().begin(), x.shape().end() - 1); };
  if (x1.rank() < 1 || x2.rank() < 1 || x1.dim(-1) != c.in1_features || x2.dim(-1) != c.in2_features ||
      leading(x1) != leading(x2))
    refuse(x1, "the inputs do not fit a Bilinear layer",
           fmt::format("x1 [..., {}] and x2 [..., {}], not {}", c.in1_features, c.in2_features,
                       to_string(x2.type())));
  int64_t rows = x1.numel() / c.in1_features;
  Tensor by_input =
      reshape(permute(weight_, {1, 0, 2}), Shape{c.in1_features, c.out_features * c.in2_features});
  Tensor y = reshape(matmul(reshape(x1, Shape{rows, c.in1_features}), by_input),
                     Shape{rows, c.out_features, c.in2_features});
  y = sum(y * reshape(x2, Shape{rows, 1, c.in2_features}), {2});
  if (bias_.defined()) y = y + bias_;
  std::vector<int64_t> shape = leading(x1);
  shape.push_back(c.out_features);
  return reshape(y, Shape(shape));
}

void Bilinear::members(MemberVisitor& member) {
  member.parameter("weight", weight_);
  member.parameter("bias", bias_);
}

void Bilinear::reset_parameters(const init::Draws& draws) {
  double bound = 1 / std::sqrt(static_cast<double>(config().in1_features));
  init::uniform(weight_, -bound, bound, draws("weight"));
  if (bias_.defined()) init::uniform(bias_, -bound, bound, draws("bias"));
}

ConfigFields DropConnectConfig::fields() {
  return {{"in_features", &in_features, "extent of the last axis of x", {.min = 1}},
          {"out_features", &out_features, "extent of the last axis of y", {.min = 1}},
          {"p", &p, "probability of dropping a weight", {.min = 0, .max = 1}},
          {"bias", &bias, "add a learned vector b"}};
}

DropConnect::DropConnect(DropConnectConfig c, std::source_location where)
    : ConfiguredLayer(c, where), weight_(new_parameter({c.out_features, c.in_features})) {
  if (c.bias) bias_ = new_parameter({c.out_features});
}

Tensor DropConnect::forward(const Tensor& x) {
  const Config& c = config();
  if (x.rank() < 1 || x.dim(-1) != c.in_features)
    refuse(x, "the input does not fit a DropConnect layer", fmt::format("[..., {}]", c.in_features),
           "in_features is the extent of the input's last axis");
  Tensor y = matmul(x, training() ? dropout(weight_, c.p) : weight_, false, true);
  return bias_.defined() ? y + bias_ : y;
}

void DropConnect::members(MemberVisitor& member) {
  member.parameter("weight", weight_);
  member.parameter("bias", bias_);
}

}  // namespace wholestep::nn
