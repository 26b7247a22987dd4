// Attention with several heads.
#pragma once
#include "wholestep/nn/linear.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::nn {

struct MultiheadAttentionConfig {
  static constexpr const char
      *kType = "MultiheadAttention",
      *kDoc =
          "attention in num_heads parts of embed_dim; of one input x [T, N, embed_dim], of x "
          "to itself (Vaswani et al. 2017)";
  int64_t embed_dim = 0;
  int64_t num_heads = 0;
  double dropout = 0;
  bool bias = true;
  bool batch_first = false;
  bool is_causal = false;
  bool add_bias_kv = false;
  bool add_zero_attn = false;
  int64_t kdim = 0;  ///< 0: embed_dim
  int64_t vdim = 0;  ///< 0: embed_dim
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Where queries may not look. bool masks are true there, floating ones are added to the scores.
struct AttentionMask {
  Tensor attn_mask = {};         ///< [L, S], or [N * num_heads, L, S]
  Tensor key_padding_mask = {};  ///< [N, S]
  bool is_causal = false;        ///< query i looks at keys 0 to i
};

struct AttentionResult {
  Tensor output;
  Tensor
      weights;  ///< [N, L, S], the mean over the heads, or [N, num_heads, L, S]; after dropout, as PyTorch's
};

/// Parameters in_proj_weight [3 embed_dim, embed_dim], or where kdim or vdim differ from embed_dim
/// q_proj_weight [embed_dim, embed_dim], k_proj_weight [embed_dim, kdim] and v_proj_weight [embed_dim, vdim];
/// in_proj_bias of query, key and value, bias_k and bias_v [1, 1, embed_dim] with add_bias_kv,
/// out_proj.weight and out_proj.bias.
class MultiheadAttention final : public ConfiguredLayer<MultiheadAttentionConfig> {
 public:
  explicit MultiheadAttention(MultiheadAttentionConfig config,
                              std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override { return attend(x, x, x, {}); }
  using Module::operator();
  /// query [L, N, embed_dim], key [S, N, kdim] and value [S, N, vdim], the first two axes the other way round
  /// where batch_first
  /// -> like query. The layer's is_causal holds too.
  Tensor operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                    const AttentionMask& mask = {}) {
    return call(query, [&] { return attend(query, key, value, mask); });
  }
  /// The same with the weights: PyTorch's need_weights=True. S counts what add_bias_kv and add_zero_attn add.
  AttentionResult with_weights(const Tensor& query, const Tensor& key, const Tensor& value,
                               const AttentionMask& mask = {}, bool average_attn_weights = true) {
    AttentionResult result;
    call(query, [&] { return result.output = attend(query, key, value, mask, &result.weights); });
    if (average_attn_weights) result.weights = mean(result.weights, {1});
    return result;
  }
  Linear& out_proj() { return out_proj_; }

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override;

 private:
  bool one_width() const { return !q_proj_weight_.defined(); }
  Tensor attend(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionMask& mask,
                Tensor* weights = nullptr);
  /// Query, key and value [N, T, embed_dim].
  std::vector<Tensor> project(const Tensor& query, const Tensor& key, const Tensor& value);
  Tensor in_proj_weight_, q_proj_weight_, k_proj_weight_, v_proj_weight_, in_proj_bias_, bias_k_, bias_v_;
  Linear out_proj_;
};

}  // namespace wholestep::nn
