// The vision transformer (Dosovitskiy et al. 2021) as one layer: a picture as a sequence of square patches.
#pragma once
#include "wholestep/nn/conv2d.h"
#include "wholestep/nn/transformer.h"

namespace wholestep::nn {

struct VisionTransformerConfig {
  static constexpr const char
      *kType = "VisionTransformer",
      *kDoc = "pictures x [N, in_channels, image_size, image_size] to logits [N, num_classes]";
  int64_t image_size = 224;
  int64_t patch_size = 16;
  int64_t in_channels = 3;
  int64_t num_layers = 12;
  int64_t num_heads = 12;
  int64_t hidden_dim = 768;
  int64_t mlp_dim = 3072;
  double dropout = 0;
  int64_t num_classes = 1000;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Parameters class_token [1, 1, hidden_dim], pos_embedding [1, patches + 1, hidden_dim], and those of
/// conv_proj, layers.0, ... (TransformerEncoderLayer), ln and head.
class VisionTransformer final : public ConfiguredLayer<VisionTransformerConfig> {
 public:
  explicit VisionTransformer(VisionTransformerConfig config,
                             std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override;

 private:
  Tensor class_token_, pos_embedding_;
  Conv2d conv_proj_;
  std::vector<TransformerEncoderLayer> layers_;
  LayerNorm ln_;
  Linear head_;
};

}  // namespace wholestep::nn
