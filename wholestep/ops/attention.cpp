// Attention as a composition.
#include "wholestep/ops/attention.h"

#include <cmath>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/random.h"
#include "wholestep/ops/softmax.h"

namespace wholestep {
namespace {

constexpr double kMasked = -1e30;

}  // namespace

Tensor causal_mask(int64_t queries, int64_t keys, DType dtype) {
  Tensor mask = zeros({DType::f32, {queries, keys}});
  for (int64_t i = 0; i < queries; ++i)
    for (int64_t j = i + 1; j < keys; ++j)
      mask.data<float>()[static_cast<size_t>(i * keys + j)] = static_cast<float>(kMasked);
  return cast(mask, dtype);
}

Tensor attention_weights(const Tensor& query, const Tensor& key, const AttentionOptions& o) {
  double scale = o.scale.value_or(1 / std::sqrt(static_cast<double>(query.dim(-1))));
  return rounded_once(query, [&](const Tensor& wide) {
    Tensor scores = matmul(wide * scale, widened(key), false, true);
    if (o.is_causal) scores = scores + causal_mask(query.dim(-2), key.dim(-2), scores.dtype());
    if (o.mask.defined())
      scores = o.mask.dtype() == DType::boolean ? where(o.mask, scores, kMasked)
                                                : scores + maximum(widened(o.mask), kMasked);
    Tensor weights = softmax(scores);
    return o.dropout_p > 0 ? dropout(weights, o.dropout_p) : weights;
  });
}

Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const AttentionOptions& options) {
  return rounded_once(query, [&](const Tensor& wide) {
    return matmul(attention_weights(wide, widened(key), options), widened(value));
  });
}

}  // namespace wholestep
