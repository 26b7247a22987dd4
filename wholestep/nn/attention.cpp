// MultiheadAttention: heads are an axis of the batch of one attention.
#include "wholestep/nn/attention.h"

#include <fmt/format.h>

#include "wholestep/graph/widen.h"
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
  return mask.dtype() == DType::boolean ? cast(mask, dtype) * -1e30 : widened(mask);
}

}  // namespace

ConfigFields MultiheadAttentionConfig::fields() {
  return {{"embed_dim", &embed_dim, "extent of the last axis of x", {.min = 1}},
          {"num_heads", &num_heads, "parts that attend each by itself", {.min = 1}},
          {"dropout", &dropout, "probability of dropping a weight while training", {.min = 0, .max = 1}},
          {"bias", &bias, "add learned vectors to what is projected"},
          {"batch_first", &batch_first, "x is [N, T, embed_dim]"},
          {"is_causal", &is_causal, "element t looks at elements 0 to t"},
          {"add_bias_kv", &add_bias_kv, "a learned key and value more, behind the others"},
          {"add_zero_attn", &add_zero_attn, "a key and value of zeros more"},
          {"kdim", &kdim, "extent of the last axis of keys; 0: embed_dim", {.min = 0}},
          {"vdim", &vdim, "extent of the last axis of values; 0: embed_dim", {.min = 0}}};
}

std::vector<std::string> MultiheadAttentionConfig::problems() const {
  if (embed_dim % num_heads == 0) return {};
  return {fmt::format("'embed_dim' got {}, expected a multiple of 'num_heads' ({})", embed_dim, num_heads)};
}

MultiheadAttention::MultiheadAttention(MultiheadAttentionConfig c, std::source_location where)
    : ConfiguredLayer(c, where),
      out_proj_({.in_features = c.embed_dim, .out_features = c.embed_dim, .bias = c.bias}, where) {
  const int64_t d = c.embed_dim, of_key = c.kdim ? c.kdim : d, of_value = c.vdim ? c.vdim : d;
  if (of_key == d && of_value == d) {
    in_proj_weight_ = new_parameter({3 * d, d});
  } else {
    q_proj_weight_ = new_parameter({d, d});
    k_proj_weight_ = new_parameter({d, of_key});
    v_proj_weight_ = new_parameter({d, of_value});
  }
  if (c.bias) in_proj_bias_ = new_parameter({3 * d});
  if (c.add_bias_kv) bias_k_ = new_parameter({1, 1, d}), bias_v_ = new_parameter({1, 1, d});
}

void MultiheadAttention::members(MemberVisitor& member) {
  member.parameter("in_proj_weight", in_proj_weight_);
  member.parameter("q_proj_weight", q_proj_weight_);
  member.parameter("k_proj_weight", k_proj_weight_);
  member.parameter("v_proj_weight", v_proj_weight_);
  member.parameter("in_proj_bias", in_proj_bias_);
  member.parameter("bias_k", bias_k_);
  member.parameter("bias_v", bias_v_);
  member.child("out_proj", out_proj_);
}

void MultiheadAttention::reset_parameters(const init::Draws& draws) {
  for (auto [name, weight] : {std::pair{"in_proj_weight", &in_proj_weight_},
                              {"q_proj_weight", &q_proj_weight_},
                              {"k_proj_weight", &k_proj_weight_},
                              {"v_proj_weight", &v_proj_weight_}})
    if (weight->defined()) init::xavier_uniform(*weight, draws(name));
  for (auto [name, bias] : {std::pair{"bias_k", &bias_k_}, {"bias_v", &bias_v_}})
    if (bias->defined()) init::xavier_normal(*bias, draws(name));
  if (!in_proj_bias_.defined()) return;
  init::constant(in_proj_bias_, 0);
  init::constant(out_proj_.bias(), 0);
}

std::vector<Tensor> MultiheadAttention::project(const Tensor& query, const Tensor& key, const Tensor& value) {
  const Config& c = config();
  auto batch_first = [&](const Tensor& x) { return c.batch_first ? x : permute(x, {1, 0, 2}); };
  const std::vector<int64_t> thirds(3, c.embed_dim);
  if (one_width() && same(query, key) && same(key, value))
    return split(linear(batch_first(query), in_proj_weight_, in_proj_bias_), thirds, -1);
  std::vector<Tensor> weights = one_width()
                                    ? split(in_proj_weight_, thirds, 0)
                                    : std::vector<Tensor>{q_proj_weight_, k_proj_weight_, v_proj_weight_};
  std::vector<Tensor> biases(3), projected;
  if (c.bias) biases = split(in_proj_bias_, thirds, 0);
  const Tensor* inputs[] = {&query, &key, &value};
  for (size_t i = 0; i < 3; ++i) projected.push_back(linear(batch_first(*inputs[i]), weights[i], biases[i]));
  return projected;
}

Tensor MultiheadAttention::attend(const Tensor& query, const Tensor& key, const Tensor& value,
                                  const AttentionMask& mask, Tensor* weights) {
  const Config& c = config();
  const int64_t d = c.embed_dim, widths[] = {d, c.kdim ? c.kdim : d, c.vdim ? c.vdim : d};
  const char* fields[] = {"embed_dim", "kdim", "vdim"};
  const Tensor* inputs[] = {&query, &key, &value};
  for (size_t i = 0; i < 3; ++i)
    if (inputs[i]->rank() != 3 || inputs[i]->dim(2) != widths[i])
      refuse(*inputs[i], "the input does not fit a MultiheadAttention layer",
             fmt::format("[{}, {}]", c.batch_first ? "N, T" : "T, N", widths[i]),
             fmt::format("{} is the extent of its last axis", one_width() ? "embed_dim" : fields[i]));

  std::vector<Tensor> projected = project(query, key, value);
  const int64_t n = projected[0].dim(0), l = projected[0].dim(1), s = projected[1].dim(1), h = c.num_heads;
  if (c.add_bias_kv)
    for (auto [t, bias] : {std::pair{&projected[1], &bias_k_}, {&projected[2], &bias_v_}})
      *t = concat({*t, expand(*bias, Shape{n, 1, d})}, 1);
  if (c.add_zero_attn)
    for (size_t i : {1, 2}) projected[i] = pad(projected[i], 1, 0, 1);
  const int64_t added = projected[1].dim(1) - s;  // keys that no mask hides
  const DType of_scores = widened(query.dtype());
  for (Tensor& t : projected)  // [N, h, T, d / h]
    t = permute(reshape(t, Shape{t.dim(0), t.dim(1), h, d / h}), {0, 2, 1, 3});

  AttentionOptions options = {.dropout_p = training() ? c.dropout : 0};
  auto hide = [&](const Tensor& m) {
    Tensor wider = added > 0 ? pad(m, m.rank() - 1, 0, added) : m;
    options.mask = options.mask.defined() ? options.mask + wider : wider;
  };
  options.is_causal = (c.is_causal || mask.is_causal) && added == 0;
  if ((c.is_causal || mask.is_causal) && added > 0) hide(causal_mask(l, s, of_scores));
  if (mask.attn_mask.defined()) {
    Tensor m = additive(mask.attn_mask, of_scores);
    hide(m.rank() == 3 ? reshape(m, Shape{n, h, l, s}) : m);
  }
  if (mask.key_padding_mask.defined())
    hide(reshape(additive(mask.key_padding_mask, of_scores), Shape{n, 1, 1, s}));
  Tensor shares = attention_weights(projected[0], projected[1], options);
  if (weights) *weights = shares;
  Tensor heads = matmul(shares, projected[2]);
  Tensor y = out_proj_(reshape(permute(heads, {0, 2, 1, 3}), Shape{n, l, d}));
  return c.batch_first ? y : permute(y, {1, 0, 2});
}

}  // namespace wholestep::nn
