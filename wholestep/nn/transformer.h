// The layers of a transformer (Vaswani et al. 2017): attention and a network of two linear layers at each
// place, each with a way around it and a LayerNorm.
#pragma once
#include "wholestep/nn/attention.h"
#include "wholestep/nn/norm.h"

namespace wholestep::nn {

struct TransformerEncoderLayerConfig {
  static constexpr const char
      *kType = "TransformerEncoderLayer",
      *kDoc =
          "attention of x [T, N, d_model] to itself, then two linear layers, each with a way "
          "around it and a LayerNorm (Vaswani et al. 2017)";
  int64_t d_model = 0;
  int64_t nhead = 0;
  int64_t dim_feedforward = 2048;
  double dropout = 0.1;
  std::string activation = "relu";
  double layer_norm_eps = 1e-5;
  bool batch_first = false;
  bool norm_first = false;
  bool bias = true;
  bool is_causal = false;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// The two linear layers at each place, and what is between them: what encoder and decoder layers share.
class FeedForward {
 public:
  FeedForward(const TransformerEncoderLayerConfig& config, std::source_location where);
  Tensor operator()(const Tensor& x, bool training);
  void members(MemberVisitor& member);
  Linear& linear2() { return linear2_; }

 private:
  Linear linear1_, linear2_;
  std::string activation_;
  double dropout_;
};

/// Parameters of self_attn, linear1, linear2, norm1 and norm2.
class TransformerEncoderLayer final : public ConfiguredLayer<TransformerEncoderLayerConfig> {
 public:
  explicit TransformerEncoderLayer(TransformerEncoderLayerConfig config,
                                   std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override { return encode(x, {}); }
  using Module::operator();
  /// src [T, N, d_model], or [N, T, d_model] where batch_first -> the same shape.
  Tensor operator()(const Tensor& src, const AttentionMask& src_mask) {
    return call(src, [&] { return encode(src, src_mask); });
  }
  /// The layers whose results are added to what goes around them.
  std::vector<Linear*> residual_outputs() { return {&self_attn_.out_proj(), &feed_forward_.linear2()}; }

 protected:
  void members(MemberVisitor& member) override;

 private:
  Tensor encode(const Tensor& src, const AttentionMask& mask);
  MultiheadAttention self_attn_;
  FeedForward feed_forward_;
  LayerNorm norm1_, norm2_;
};

/// Its config is the encoder layer's, and so are its parameters, with multihead_attn and norm3 more.
class TransformerDecoderLayer final : public Module {
 public:
  static constexpr const char *kType = "TransformerDecoderLayer",
                              *kDoc =
                                  "attention of a target to itself and to a memory, then two linear layers, "
                                  "each with a way around it and a LayerNorm (Vaswani et al. 2017)";
  explicit TransformerDecoderLayer(TransformerEncoderLayerConfig config,
                                   std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;  ///< kUsage: a memory is missing
  using Module::operator();
  /// tgt [T, N, d_model], memory [S, N, d_model], the first two axes the other way round where batch_first ->
  /// like tgt.
  Tensor operator()(const Tensor& tgt, const Tensor& memory, const AttentionMask& tgt_mask = {},
                    const AttentionMask& memory_mask = {}) {
    return call(tgt, [&] { return decode(tgt, memory, tgt_mask, memory_mask); });
  }
  std::string_view type() const override { return kType; }

 protected:
  void members(MemberVisitor& member) override;

 private:
  Tensor decode(const Tensor& tgt, const Tensor& memory, const AttentionMask& tgt_mask,
                const AttentionMask& memory_mask);
  TransformerEncoderLayerConfig config_;
  MultiheadAttention self_attn_, multihead_attn_;
  FeedForward feed_forward_;
  LayerNorm norm1_, norm2_, norm3_;
};

}  // namespace wholestep::nn
