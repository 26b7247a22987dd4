// Encoder and decoder layers: each part is norm(x + part(x)), or x + part(norm(x)) where norm_first.
#include "wholestep/nn/transformer.h"

#include <fmt/format.h>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/pointwise.h"
#include "wholestep/ops/random.h"

namespace wholestep::nn {
namespace {

using Config = TransformerEncoderLayerConfig;

MultiheadAttentionConfig attention_of(const Config& c, bool is_causal) {
  return {.embed_dim = c.d_model,
          .num_heads = c.nhead,
          .dropout = c.dropout,
          .bias = c.bias,
          .batch_first = c.batch_first,
          .is_causal = is_causal};
}
LayerNormConfig norm_of(const Config& c) {
  return {.normalized_shape = {c.d_model}, .eps = c.layer_norm_eps, .bias = c.bias};
}

/// One part with its way around, dropped while training.
template <class Part>
Tensor around(const Tensor& x, const Config& c, bool training, LayerNorm& norm, Part&& part) {
  auto dropped = [&](const Tensor& y) { return training ? dropout(y, c.dropout) : y; };
  return c.norm_first ? x + dropped(part(norm(x))) : norm(x + dropped(part(x)));
}

}  // namespace

ConfigFields TransformerEncoderLayerConfig::fields() {
  return {{"d_model", &d_model, "extent of the last axis of x", {.min = 1}},
          {"nhead", &nhead, "heads of the attention", {.min = 1}},
          {"dim_feedforward", &dim_feedforward, "features between the two linear layers", {.min = 1}},
          {"dropout", &dropout, "probability of dropping an element while training", {.min = 0, .max = 1}},
          {"activation", &activation, "between the two linear layers", {}, {"relu", "gelu", "gelu_tanh"}},
          {"layer_norm_eps", &layer_norm_eps, "added to the variance", {.min = 0}},
          {"batch_first", &batch_first, "x is [N, T, d_model]"},
          {"norm_first", &norm_first, "normalise what goes in, not what comes out"},
          {"bias", &bias, "add learned vectors in all parts"},
          {"is_causal", &is_causal, "element t looks at elements 0 to t"}};
}

std::vector<std::string> TransformerEncoderLayerConfig::problems() const {
  if (d_model % nhead == 0) return {};
  return {fmt::format("'d_model' got {}, expected a multiple of 'nhead' ({})", d_model, nhead)};
}

FeedForward::FeedForward(const Config& c, std::source_location where)
    : linear1_({.in_features = c.d_model, .out_features = c.dim_feedforward, .bias = c.bias}, where),
      linear2_({.in_features = c.dim_feedforward, .out_features = c.d_model, .bias = c.bias}, where),
      activation_(c.activation),
      dropout_(c.dropout) {}

Tensor FeedForward::operator()(const Tensor& x, bool training) {
  Tensor y = linear1_(x);
  y = activation_ == "relu" ? relu(y) : activation_ == "gelu" ? gelu(y) : gelu_tanh(y);
  return linear2_(training ? dropout(y, dropout_) : y);
}

void FeedForward::members(MemberVisitor& member) {
  member.child("linear1", linear1_);
  member.child("linear2", linear2_);
}

TransformerEncoderLayer::TransformerEncoderLayer(Config c, std::source_location where)
    : ConfiguredLayer(c, where),
      self_attn_(attention_of(c, c.is_causal), where),
      feed_forward_(c, where),
      norm1_(norm_of(c), where),
      norm2_(norm_of(c), where) {}

Tensor TransformerEncoderLayer::encode(const Tensor& src, const AttentionMask& mask) {
  Tensor x =
      around(src, config(), training(), norm1_, [&](const Tensor& y) { return self_attn_(y, y, y, mask); });
  return around(x, config(), training(), norm2_,
                [&](const Tensor& y) { return feed_forward_(y, training()); });
}

void TransformerEncoderLayer::members(MemberVisitor& member) {
  member.child("self_attn", self_attn_);
  feed_forward_.members(member);
  member.child("norm1", norm1_);
  member.child("norm2", norm2_);
}

TransformerDecoderLayer::TransformerDecoderLayer(Config c, std::source_location where)
    : Module(where),
      config_(checked_config(source() + ": TransformerDecoderLayer", std::move(c))),
      self_attn_(attention_of(config_, config_.is_causal), where),
      multihead_attn_(attention_of(config_, false), where),
      feed_forward_(config_, where),
      norm1_(norm_of(config_), where),
      norm2_(norm_of(config_), where),
      norm3_(norm_of(config_), where) {}

Tensor TransformerDecoderLayer::forward(const Tensor& x) {
  refuse(x, "a decoder layer looks at a memory too", "layer(tgt, memory)");
}

Tensor TransformerDecoderLayer::decode(const Tensor& tgt, const Tensor& memory, const AttentionMask& tgt_mask,
                                       const AttentionMask& memory_mask) {
  Tensor x = around(tgt, config_, training(), norm1_,
                    [&](const Tensor& y) { return self_attn_(y, y, y, tgt_mask); });
  x = around(x, config_, training(), norm2_,
             [&](const Tensor& y) { return multihead_attn_(y, memory, memory, memory_mask); });
  return around(x, config_, training(), norm3_,
                [&](const Tensor& y) { return feed_forward_(y, training()); });
}

void TransformerDecoderLayer::members(MemberVisitor& member) {
  member.child("self_attn", self_attn_);
  member.child("multihead_attn", multihead_attn_);
  feed_forward_.members(member);
  member.child("norm1", norm1_);
  member.child("norm2", norm2_);
  member.child("norm3", norm3_);
}

}  // namespace wholestep::nn
