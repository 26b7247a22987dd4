// VisionTransformer.
#include "wholestep/nn/vision_transformer.h"

#include <fmt/format.h>

#include <cmath>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/random.h"
#include "wholestep/ops/shape.h"

namespace wholestep::nn {

ConfigFields VisionTransformerConfig::fields() {
  return {{"image_size", &image_size, "rows and columns of x", {.min = 1}},
          {"patch_size", &patch_size, "rows and columns of a patch", {.min = 1}},
          {"in_channels", &in_channels, "channels of x", {.min = 1}},
          {"num_layers", &num_layers, "transformer layers", {.min = 1}},
          {"num_heads", &num_heads, "heads of each", {.min = 1}},
          {"hidden_dim", &hidden_dim, "features of a patch", {.min = 1}},
          {"mlp_dim", &mlp_dim, "features between the two linear layers", {.min = 1}},
          {"dropout", &dropout, "probability of dropping an element while training", {.min = 0, .max = 1}},
          {"num_classes", &num_classes, "extent of the last axis of y", {.min = 1}}};
}

std::vector<std::string> VisionTransformerConfig::problems() const {
  std::vector<std::string> problems;
  if (image_size % patch_size != 0)
    problems.push_back(
        fmt::format("'image_size' got {}, expected a multiple of 'patch_size' ({})", image_size, patch_size));
  if (hidden_dim % num_heads != 0)
    problems.push_back(
        fmt::format("'hidden_dim' got {}, expected a multiple of 'num_heads' ({})", hidden_dim, num_heads));
  return problems;
}

VisionTransformer::VisionTransformer(VisionTransformerConfig c, std::source_location where)
    : ConfiguredLayer(c, where),
      class_token_(new_parameter({1, 1, c.hidden_dim})),
      pos_embedding_(new_parameter(
          {1, (c.image_size / c.patch_size) * (c.image_size / c.patch_size) + 1, c.hidden_dim})),
      conv_proj_({.in_channels = c.in_channels,
                  .out_channels = c.hidden_dim,
                  .kernel_size = c.patch_size,
                  .stride = c.patch_size},
                 where),
      ln_({.normalized_shape = {c.hidden_dim}, .eps = 1e-6}, where),
      head_({.in_features = c.hidden_dim, .out_features = c.num_classes}, where) {
  for (int64_t i = 0; i < c.num_layers; ++i)
    layers_.emplace_back(TransformerEncoderLayerConfig{.d_model = c.hidden_dim,
                                                       .nhead = c.num_heads,
                                                       .dim_feedforward = c.mlp_dim,
                                                       .dropout = c.dropout,
                                                       .activation = "gelu",
                                                       .layer_norm_eps = 1e-6,
                                                       .batch_first = true,
                                                       .norm_first = true},
                         where);
}

Tensor VisionTransformer::forward(const Tensor& x) {
  const Config& c = config();
  if (x.rank() != 4 || x.dim(2) != c.image_size || x.dim(3) != c.image_size)
    refuse(x, "the input does not fit a VisionTransformer",
           fmt::format("[N, {0}, {1}, {1}]", c.in_channels, c.image_size));
  int64_t n = x.dim(0), patches = pos_embedding_.dim(1) - 1;
  Tensor y = permute(reshape(conv_proj_(x), Shape{n, c.hidden_dim, patches}), {0, 2, 1});
  y = concat({expand(class_token_, {n, 1, c.hidden_dim}), y}, 1) + pos_embedding_;
  if (training()) y = dropout(y, c.dropout);
  for (TransformerEncoderLayer& layer : layers_) y = layer(y);
  return head_(reshape(slice(ln_(y), 1, 0, 1), Shape{n, c.hidden_dim}));
}

void VisionTransformer::members(MemberVisitor& member) {
  member.parameter("class_token", class_token_);
  member.parameter("pos_embedding", pos_embedding_);
  member.child("conv_proj", conv_proj_);
  for (size_t i = 0; i < layers_.size(); ++i) member.child(fmt::format("layers.{}", i), layers_[i]);
  member.child("ln", ln_);
  member.child("head", head_);
}

void VisionTransformer::reset_parameters(const init::Draws& draws) {
  init::constant(class_token_, 0);
  init::normal(pos_embedding_, 0, 0.02, draws("pos_embedding"));
  init::trunc_normal(head_.weight(), 0, 0.02, draws("head.weight"));
  init::constant(head_.bias(), 0);
}

}  // namespace wholestep::nn
