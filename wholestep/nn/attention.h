// Attention with several heads.
#pragma once
#include "wholestep/nn/linear.h"

namespace wholestep::nn {

struct MultiheadAttentionConfig {
  static constexpr const char
      *kType = "MultiheadAttention",
      *kDoc =
          "attention in num_heads parts of embed_dim; of one input x [T, N, embed_dim], of x "
          "to itself";
  int64_t embed_dim = 0;
  int64_t num_heads = 0;
  double dropout = 0;
  bool bias = true;
  bool batch_first = false;
  bool is_causal = false;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Where queries may not look. bool masks are true there, floating ones are added to the scores.
struct AttentionMask {
  Tensor attn_mask = {};         ///< [L, S], or [N * num_heads, L, S]
  Tensor key_padding_mask = {};  ///< [N, S]
  bool is_causal = false;        ///< query i looks at keys 0 to i
};

/// Parameters in_proj_weight [3 embed_dim, embed_dim] and in_proj_bias of query, key and value,
/// out_proj.weight and out_proj.bias.
class MultiheadAttention final : public ConfiguredLayer<MultiheadAttentionConfig> {
 public:
  explicit MultiheadAttention(MultiheadAttentionConfig config,
                              std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override { return attend(x, x, x, {}); }
  using Module::operator();
  /// query [L, N, embed_dim], key and value [S, N, embed_dim], the first two axes the other way round where
  /// batch_first
  /// -> like query. The layer's is_causal holds too.
  Tensor operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                    const AttentionMask& mask = {}) {
    return call(query, [&] { return attend(query, key, value, mask); });
  }
  Linear& out_proj() { return out_proj_; }

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override;

 private:
  Tensor attend(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionMask& mask);
  Tensor in_proj_weight_, in_proj_bias_;
  Linear out_proj_;
};

}  // namespace wholestep::nn
