// The embedding layer: a learned row for every index.
#pragma once
#include "wholestep/nn/layer.h"

namespace wholestep::nn {

struct EmbeddingConfig {
  static constexpr const char *kType = "Embedding",
                              *kDoc = "y = weight[x]: a learned row for every index of x [...], i32 or i64";
  int64_t num_embeddings = 0;
  int64_t embedding_dim = 0;
  std::optional<int64_t> padding_idx = {};
  double max_norm = 0;  ///< PyTorch's None is 0 here
  double norm_type = 2;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Parameter weight [num_embeddings, embedding_dim], drawn from a standard normal; the row of padding_idx is
/// 0 and stays as it is. With max_norm, rows that are looked up and longer are first made as short in place,
/// which the gradient does not see; as in PyTorch also in evaluation.
class Embedding final : public ConfiguredLayer<EmbeddingConfig> {
 public:
  explicit Embedding(EmbeddingConfig config, std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;
  const Tensor& weight() const { return weight_; }

 protected:
  void members(MemberVisitor& member) override { member.parameter("weight", weight_); }
  void reset_parameters(const init::Draws& draws) override;

 private:
  void shorten_rows(const Tensor& x);
  Tensor weight_;
};

}  // namespace wholestep::nn
