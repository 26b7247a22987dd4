// GPT.
#include "wholestep/nn/gpt.h"

#include <fmt/format.h>

#include <cmath>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/random.h"
#include "wholestep/ops/shape.h"

namespace wholestep::nn {

ConfigFields GPTConfig::fields() {
  return {{"vocab_size", &vocab_size, "kinds of tokens", {.min = 1}},
          {"block_size", &block_size, "the longest sequence", {.min = 1}},
          {"n_layer", &n_layer, "transformer layers", {.min = 1}},
          {"n_head", &n_head, "heads of each", {.min = 1}},
          {"n_embd", &n_embd, "features of a place", {.min = 1}},
          {"dropout", &dropout, "probability of dropping an element while training", {.min = 0, .max = 1}},
          {"bias", &bias, "add learned vectors in all parts"}};
}

std::vector<std::string> GPTConfig::problems() const {
  if (n_embd % n_head == 0) return {};
  return {fmt::format("'n_embd' got {}, expected a multiple of 'n_head' ({})", n_embd, n_head)};
}

GPT::GPT(GPTConfig c, std::source_location where)
    : ConfiguredLayer(c, where),
      wte_({.num_embeddings = c.vocab_size, .embedding_dim = c.n_embd}, where),
      wpe_({.num_embeddings = c.block_size, .embedding_dim = c.n_embd}, where),
      ln_f_({.normalized_shape = {c.n_embd}, .bias = c.bias}, where) {
  for (int64_t i = 0; i < c.n_layer; ++i)
    h_.emplace_back(TransformerEncoderLayerConfig{.d_model = c.n_embd,
                                                  .nhead = c.n_head,
                                                  .dim_feedforward = 4 * c.n_embd,
                                                  .dropout = c.dropout,
                                                  .activation = "gelu_tanh",
                                                  .batch_first = true,
                                                  .norm_first = true,
                                                  .bias = c.bias,
                                                  .is_causal = true},
                    where);
}

Tensor GPT::forward(const Tensor& x) {
  const Config& c = config();
  if (x.rank() != 2 || x.dim(1) > c.block_size)
    refuse(x, "the input does not fit a GPT", fmt::format("[N, T] with T at most {}", c.block_size));
  Tensor y = wte_(x) + slice(wpe_.weight(), 0, 0, x.dim(1));
  if (training()) y = dropout(y, c.dropout);
  for (TransformerEncoderLayer& layer : h_) y = layer(y);
  return linear(ln_f_(y), wte_.weight());
}

void GPT::members(MemberVisitor& member) {
  member.child("wte", wte_);
  member.child("wpe", wpe_);
  for (size_t i = 0; i < h_.size(); ++i) member.child(fmt::format("h.{}", i), h_[i]);
  member.child("ln_f", ln_f_);
}

void GPT::reset_parameters(const init::Draws& draws) {
  auto draw = [&](const Tensor& t, const std::string& name, double std) {
    if (t.rank() > 1) init::normal(t, 0, std, draws(name));
    else init::constant(t, 0);
  };
  draw(wte_.weight(), "wte.weight", 0.02);
  draw(wpe_.weight(), "wpe.weight", 0.02);
  double added = 0.02 / std::sqrt(2.0 * static_cast<double>(h_.size()));
  for (size_t i = 0; i < h_.size(); ++i) {
    auto ends_in = [](const std::string& name, const char* end) { return name.ends_with(end); };
    for (auto& [name, t] : h_[i].named_parameters()) {
      if (name.starts_with("norm")) continue;
      bool adds = ends_in(name, "out_proj.weight") || ends_in(name, "linear2.weight");
      draw(t, fmt::format("h.{}.{}", i, name), adds ? added : 0.02);
    }
  }
}

}  // namespace wholestep::nn
