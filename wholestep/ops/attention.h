// Scaled dot-product attention (Vaswani et al. 2017), composed of two products and a softmax.
#pragma once
#include <optional>

#include "wholestep/graph/op.h"

namespace wholestep {

struct AttentionOptions {
  /// Broadcast to [..., L, S]: bool, true where a query may look at a key, or floating, added to the scores.
  Tensor mask = {};
  double dropout_p = 0;              ///< of the weights; for training only, so the caller says when
  bool is_causal = false;            ///< query i looks at keys 0 to i
  std::optional<double> scale = {};  ///< of the scores; 1 / sqrt(E) by default
};

/// softmax(scale query key^T + mask) value for query [..., L, E], key [..., S, E], value [..., S, Ev] ->
/// [..., L, Ev]; leading axes broadcast. Masked scores are -1e30, so weights there are 0 and everything stays
/// finite; a query that may look nowhere looks everywhere alike.
Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const AttentionOptions& options = {});

/// The weights alone, [..., L, S], after dropout: softmax(scale query key^T + mask).
Tensor attention_weights(const Tensor& query, const Tensor& key, const AttentionOptions& options = {});

/// What is_causal adds to the scores: [queries, keys], 0 where a query may look and -1e30 elsewhere.
Tensor causal_mask(int64_t queries, int64_t keys, DType dtype);

}  // namespace wholestep
