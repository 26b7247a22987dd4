// Distances and angles of embeddings.
#include "wholestep/nn/embedding_losses.h"

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::nn {
namespace {

Tensor reduced(const Tensor& losses, const std::string& reduction) {
  return reduction == "none" ? losses : reduction == "sum" ? sum(losses) : mean(losses);
}

void check_embeddings(std::string_view loss, const Tensor& a, const Tensor& b) {
  check_same_type(loss, a, b);
  if (a.rank() != 2)
    throw Error(ErrorCode::kUsage, {.what = "embeddings have two axes",
                                    .where = std::string(loss),
                                    .got = to_string(a.type()),
                                    .expected = "[N, D]"});
}

}  // namespace

ConfigFields CosineEmbeddingConfig::fields() {
  return {{"margin", &margin, "cosine up to which targets -1 cost nothing", {.min = -1, .max = 1}},
          reduction_field(reduction)};
}

CosineEmbeddingLoss::CosineEmbeddingLoss(CosineEmbeddingConfig config)
    : config_(checked_config("loss cosine-embedding", std::move(config))) {}

Tensor CosineEmbeddingLoss::operator()(const Tensor& a, const Tensor& b, const Tensor& target) const {
  check_embeddings(config_.kType, a, b);
  if (target.type() != TensorType{a.dtype(), {a.dim(0)}})
    throw Error(ErrorCode::kUsage, {.what = "cosine-embedding needs a target of 1 or -1 a pair",
                                    .got = to_string(target.type()),
                                    .expected = to_string(TensorType{a.dtype(), {a.dim(0)}})});
  constexpr double kEps = 1e-12;  // PyTorch's
  Tensor cosine = sum(a * b, {1}) * rsqrt((sum(square(a), {1}) + kEps) * (sum(square(b), {1}) + kEps));
  return reduced(where(equal(target, 1.0), 1.0 - cosine, relu(cosine - config_.margin)), config_.reduction);
}

ConfigFields TripletMarginConfig::fields() {
  return {{"margin", &margin, "by how much the negative is to be farther", {.min = 0}},
          {"p", &p, "of the norm", {.min = 1}},
          {"eps", &eps, "added to each difference", {.min = 0}},
          {"swap", &swap, "take the negative's distance from the positive where that is smaller"},
          reduction_field(reduction)};
}

TripletMarginLoss::TripletMarginLoss(TripletMarginConfig config)
    : config_(checked_config("loss triplet-margin", std::move(config))) {}

Tensor TripletMarginLoss::operator()(const Tensor& anchor, const Tensor& positive,
                                     const Tensor& negative) const {
  check_embeddings(config_.kType, anchor, positive);
  check_embeddings(config_.kType, anchor, negative);
  double p = config_.p;
  auto distance = [&](const Tensor& x, const Tensor& y) {
    Tensor difference = x - y + config_.eps;
    if (p == 2) return sqrt(sum(square(difference), {1}));
    return p == 1 ? sum(abs(difference), {1}) : pow(sum(pow(abs(difference), p), {1}), 1 / p);
  };
  Tensor to_negative = distance(anchor, negative);
  if (config_.swap) to_negative = minimum(to_negative, distance(positive, negative));
  return reduced(relu(distance(anchor, positive) - to_negative + config_.margin), config_.reduction);
}

}  // namespace wholestep::nn
