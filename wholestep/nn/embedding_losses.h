// Losses of pairs and triples of embeddings.
#pragma once
#include "wholestep/nn/loss.h"

namespace wholestep::nn {

struct CosineEmbeddingConfig {
  static constexpr const char
      *kType = "cosine-embedding",
      *kDoc = "1 - cos(a, b) where target is 1, max(0, cos(a, b) - margin) where it is -1";
  double margin = 0;
  std::string reduction = "mean";  ///< or "sum", "none": [N]
  ConfigFields fields();
};
/// Of a and b [N, D], target [N] of their dtype. PyTorch's nn.CosineEmbeddingLoss.
class CosineEmbeddingLoss {
 public:
  explicit CosineEmbeddingLoss(CosineEmbeddingConfig config = {});
  Tensor operator()(const Tensor& a, const Tensor& b, const Tensor& target) const;

 private:
  CosineEmbeddingConfig config_;
};

struct TripletMarginConfig {
  static constexpr const char
      *kType = "triplet-margin",
      *kDoc =
          "max(0, d(anchor, positive) - d(anchor, negative) + margin), d(x, y) the p-norm of x - y + eps; "
          "with swap the smaller of d(anchor, negative) and d(positive, negative)";
  double margin = 1;
  double p = 2;
  double eps = 1e-6;
  bool swap = false;
  std::string reduction = "mean";  ///< or "sum", "none": [N]
  ConfigFields fields();
};
/// Of embeddings [N, D]. Balntas et al. 2016, PyTorch's nn.TripletMarginLoss.
class TripletMarginLoss {
 public:
  explicit TripletMarginLoss(TripletMarginConfig config = {});
  Tensor operator()(const Tensor& anchor, const Tensor& positive, const Tensor& negative) const;

 private:
  TripletMarginConfig config_;
};

}  // namespace wholestep::nn
