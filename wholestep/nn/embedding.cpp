// Embedding.
#include "wholestep/nn/embedding.h"

#include <fmt/format.h>

#include <algorithm>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/embedding.h"
#include "wholestep/ops/indexing.h"
#include "wholestep/ops/reductions.h"
#include "wholestep/ops/shape.h"

namespace wholestep::nn {

ConfigFields EmbeddingConfig::fields() {
  return {{"num_embeddings", &num_embeddings, "rows; indices are 0 to one less", {.min = 1}},
          {"embedding_dim", &embedding_dim, "extent of a row", {.min = 1}},
          {"padding_idx", &padding_idx, "index whose row is 0 and not trained", {.min = 0}},
          {"max_norm", &max_norm, "rows that are looked up are shortened to this norm; 0: never", {.min = 0}},
          {"norm_type", &norm_type, "order of that norm", {.min = 1}}};
}

std::vector<std::string> EmbeddingConfig::problems() const {
  if (padding_idx.value_or(0) < num_embeddings) return {};
  return {fmt::format("'padding_idx' got {}, expected less than 'num_embeddings' ({})", *padding_idx,
                      num_embeddings)};
}

Embedding::Embedding(EmbeddingConfig c, std::source_location where)
    : ConfiguredLayer(c, where), weight_(new_parameter({c.num_embeddings, c.embedding_dim})) {}

Tensor Embedding::forward(const Tensor& x) {
  if (x.dtype() != DType::i32 && x.dtype() != DType::i64)
    refuse(x, "an embedding takes indices", "i32 or i64 [...]", "cast() whole numbers to i64");
  if (config().max_norm > 0) shorten_rows(x);
  return embedding(x, weight_, config().padding_idx);
}

void Embedding::shorten_rows(const Tensor& x) {
  NoGrad no_grad;
  const Config& c = config();
  Tensor index = reshape(x, {-1}), none = full({c.num_embeddings}, 0, weight_.dtype());
  Tensor looked_up = scatter_add(none, 0, index, full(index.shape(), 1, weight_.dtype())) > 0.0;
  Tensor norms = norm(weight_, c.norm_type, {1});
  // PyTorch's formula, its 1e-7 included.
  Tensor scale = where(logical_and(looked_up, norms > c.max_norm), c.max_norm / (norms + 1e-7), 1.0);
  weight_.assign(weight_ * reshape(scale, {-1, 1}));
}

void Embedding::reset_parameters(const init::Draws& draws) {
  init::normal(weight_, 0, 1, draws("weight"));
  if (auto row = config().padding_idx) {
    Tensor host = weight_.to_host();
    size_t row_bytes = host.bytes().size() / static_cast<size_t>(host.dim(0));
    std::ranges::fill(host.bytes().subspan(static_cast<size_t>(*row) * row_bytes, row_bytes), std::byte{0});
    weight_.write(host.bytes());
  }
}

}  // namespace wholestep::nn
