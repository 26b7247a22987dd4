// LayerNorm, RMSNorm and GroupNorm over the ops of ops/norm.h.
#include "wholestep/nn/norm.h"

#include <fmt/format.h>

#include "wholestep/ops/norm.h"

namespace wholestep::nn {
namespace {

ConfigField shape_field(std::vector<int64_t>& shape) {
  return {"normalized_shape", &shape, "the last axes of x", {.min = 1}};
}
ConfigField eps_field(double& eps, const char* what) { return {"eps", &eps, what, {.min = 0}}; }

void reset_affine(const Tensor& weight, const Tensor& bias) {
  if (weight.defined()) init::constant(weight, 1);
  if (bias.defined()) init::constant(bias, 0);
}

}  // namespace

ConfigFields LayerNormConfig::fields() {
  return {shape_field(normalized_shape),
          eps_field(eps, "added to the variance"),
          {"elementwise_affine", &elementwise_affine, "scale by learned numbers"},
          {"bias", &bias, "shift by learned numbers, where elementwise_affine"}};
}

LayerNorm::LayerNorm(LayerNormConfig c, std::source_location where) : ConfiguredLayer(c, where) {
  if (!c.elementwise_affine) return;
  weight_ = new_parameter(Shape(c.normalized_shape));
  if (c.bias) bias_ = new_parameter(Shape(c.normalized_shape));
}

Tensor LayerNorm::forward(const Tensor& x) {
  return layer_norm(x, Shape(config().normalized_shape), weight_, bias_, config().eps);
}

void LayerNorm::members(MemberVisitor& member) {
  member.parameter("weight", weight_);
  member.parameter("bias", bias_);
}

void LayerNorm::reset_parameters(const init::Draws&) { reset_affine(weight_, bias_); }

ConfigFields RMSNormConfig::fields() {
  return {shape_field(normalized_shape),
          eps_field(eps, "added to the mean square; 2^-23 by default, of f64 too, where PyTorch adds 2^-52"),
          {"elementwise_affine", &elementwise_affine, "scale by learned numbers"}};
}

RMSNorm::RMSNorm(RMSNormConfig c, std::source_location where) : ConfiguredLayer(c, where) {
  if (c.elementwise_affine) weight_ = new_parameter(Shape(c.normalized_shape));
}

Tensor RMSNorm::forward(const Tensor& x) {
  return rms_norm(x, Shape(config().normalized_shape), weight_, config().eps);
}

void RMSNorm::reset_parameters(const init::Draws&) { reset_affine(weight_, {}); }

ConfigFields GroupNormConfig::fields() {
  return {{"num_groups", &num_groups, "parts the channels are cut into", {.min = 1}},
          {"num_channels", &num_channels, "channels of x", {.min = 1}},
          eps_field(eps, "added to the variance"),
          {"affine", &affine, "scale and shift by learned numbers a channel"}};
}

std::vector<std::string> GroupNormConfig::problems() const {
  if (num_channels % num_groups == 0) return {};
  return {fmt::format("'num_channels' got {}, expected a multiple of 'num_groups' ({})", num_channels,
                      num_groups)};
}

GroupNorm::GroupNorm(GroupNormConfig c, std::source_location where) : ConfiguredLayer(c, where) {
  if (!c.affine) return;
  weight_ = new_parameter({c.num_channels});
  bias_ = new_parameter({c.num_channels});
}

Tensor GroupNorm::forward(const Tensor& x) {
  const Config& c = config();
  if (x.rank() < 2 || x.dim(1) != c.num_channels)
    refuse(x, "the input does not fit a GroupNorm layer", fmt::format("[N, {}, ...]", c.num_channels),
           "num_channels is the extent of axis 1 of the input");
  return group_norm(x, c.num_groups, weight_, bias_, c.eps);
}

void GroupNorm::members(MemberVisitor& member) {
  member.parameter("weight", weight_);
  member.parameter("bias", bias_);
}

void GroupNorm::reset_parameters(const init::Draws&) { reset_affine(weight_, bias_); }

}  // namespace wholestep::nn
