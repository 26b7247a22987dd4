// MultiheadAttention: heads are an axis of the batch of one attention.
#include "wholestep/nn/attention.h"

#include <fmt/format.h>

#include "wholestep/ops/attention.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/split.h"

namespace wholestep::nn {
namespace {

bool same(const Tensor& a, const Tensor& b) {
  return a.symbolic() && b.symbolic() ? a.impl()->value == b.impl()->value : a.impl() == b.impl();
}

/// What a mask adds to the scores.
Tensor additive(const Tensor& mask, DType dtype) {
  return mask.dtype() == DType::boolean ? cast(mask, dtype) * -1e30 : mask;
}

}  // namespace

ConfigFields MultiheadAttentionConfig::fields() {
  return {{"embed_dim", &embed_dim, "extent of the last axis of x", {.min = 1}},
          {"num_heads", &num_heads, "parts that attend each by itself", {.min = 1}},
          {"dropout", &dropout, "probability of dropping a weight while training", {.min = 0, .max = 1}},
          {"bias", &bias, "add learned vectors to what is projected"},
          {"batch_first", &batch_first, "x is [N, T, embed_dim]"},
          {"is_causal", &is_causal, "element t looks at elements 0 to t"}};
}

std::vector<std::string> MultiheadAttentionConfig::problems() const {
  if (embed_dim % num_heads == 0) return {};
  return {fmt::format("'embed_dim' got {}, expected a multiple of 'num_heads' ({})", embed_dim, num_heads)};
}

MultiheadAttention::MultiheadAttention(MultiheadAttentionConfig c, std::source_location where)
    : ConfiguredLayer(c, where),
      in_proj_weight_(new_parameter({3 * c.embed_dim, c.embed_dim})),
      out_proj_({.in_features = c.embed_dim, .out_features = c.embed_dim, .bias = c.bias}, where) {
  if (c.bias) in_proj_bias_ = new_parameter({3 * c.embed_dim});
}

void MultiheadAttention::members(MemberVisitor& member) {
  member.parameter("in_proj_weight", in_proj_weight_);
  member.parameter("in_proj_bias", in_proj_bias_);
  member.child("out_proj", out_proj_);
}

void MultiheadAttention::reset_parameters(const init::Draws& draws) {
  init::xavier_uniform(in_proj_weight_, draws("in_proj_weight"));
  if (!in_proj_bias_.defined()) return;
  init::constant(in_proj_bias_, 0);
  init::constant(out_proj_.bias(), 0);
}

Tensor MultiheadAttention::attend(const Tensor& query, const Tensor& key, const Tensor& value,
                                  const AttentionMask& mask) {
  const Config& c = config();
  const int64_t d = c.embed_dim;
  for (const Tensor* t : {&query, &key, &value})
    if (t->rank() != 3 || t->dim(2) != d)
      refuse(*t, "the input does not fit a MultiheadAttention layer",
             fmt::format("[{}, {}]", c.batch_first ? "N, T" : "T, N", d),
             "embed_dim is the extent of its last axis");
  auto batch_first = [&](const Tensor& x) { return c.batch_first ? x : permute(x, {1, 0, 2}); };

  std::vector<Tensor> projected;  // query, key and value [N, T, d]
  const std::vector<int64_t> thirds = {d, d, d};
  if (same(query, key) && same(key, value)) {
    projected = split(linear(batch_first(query), in_proj_weight_, in_proj_bias_), thirds, -1);
  } else {
    std::vector<Tensor> weights = split(in_proj_weight_, thirds, 0), biases(3);
    if (c.bias) biases = split(in_proj_bias_, thirds, 0);
    const Tensor* inputs[] = {&query, &key, &value};
    for (size_t i = 0; i < 3; ++i)
      projected.push_back(linear(batch_first(*inputs[i]), weights[i], biases[i]));
  }

  const int64_t n = projected[0].dim(0), l = projected[0].dim(1), s = projected[1].dim(1), h = c.num_heads;
  for (Tensor& t : projected)  // [N, h, T, d / h]
    t = permute(reshape(t, Shape{t.dim(0), t.dim(1), h, d / h}), {0, 2, 1, 3});
  AttentionOptions options = {.dropout_p = training() ? c.dropout : 0,
                              .is_causal = c.is_causal || mask.is_causal};
  if (mask.attn_mask.defined()) {
    options.mask = additive(mask.attn_mask, query.dtype());
    if (options.mask.rank() == 3) options.mask = reshape(options.mask, Shape{n, h, l, s});
  }
  if (mask.key_padding_mask.defined()) {
    Tensor padding = reshape(additive(mask.key_padding_mask, query.dtype()), Shape{n, 1, 1, s});
    options.mask = options.mask.defined() ? options.mask + padding : padding;
  }
  Tensor heads = scaled_dot_product_attention(projected[0], projected[1], projected[2], options);
  return batch_first(out_proj_(reshape(permute(heads, {0, 2, 1, 3}), Shape{n, l, d})));
}

}  // namespace wholestep::nn
