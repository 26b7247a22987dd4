// BatchNorm1d and BatchNorm2d.
#include "wholestep/nn/batch_norm.h"

#include <fmt/format.h>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/batch_norm.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep::nn {

ConfigFields BatchNormFields::list(int64_t& num_features, double& eps, double& momentum, bool& affine) {
  return {{"num_features", &num_features, "channels of x", {.min = 1}},
          {"eps", &eps, "added to the variance", {.min = 0}},
          {"momentum", &momentum, "weight of a new batch in the recorded statistics", {.min = 0, .max = 1}},
          {"affine", &affine, "scale and shift by learned numbers a channel"}};
}

template <class Config>
BatchNorm<Config>::BatchNorm(Config c, std::source_location where)
    : ConfiguredLayer<Config>(c, where),
      running_mean_(zeros({DType::f32, {c.num_features}})),
      running_var_(zeros({DType::f32, {c.num_features}})),
      num_batches_tracked_(zeros({DType::i64, {}})) {
  if (!c.affine) return;
  weight_ = this->new_parameter({c.num_features});
  bias_ = this->new_parameter({c.num_features});
}

template <class Config>
void BatchNorm<Config>::members(MemberVisitor& member) {
  member.parameter("weight", weight_);
  member.parameter("bias", bias_);
  member.buffer("running_mean", running_mean_);
  member.buffer("running_var", running_var_);
  member.buffer("num_batches_tracked", num_batches_tracked_);
}

template <class Config>
void BatchNorm<Config>::reset_parameters(const init::Draws&) {
  init::constant(running_mean_, 0);
  init::constant(running_var_, 1);
  init::constant(num_batches_tracked_, 0);
  if (!weight_.defined()) return;
  init::constant(weight_, 1);
  init::constant(bias_, 0);
}

template <class Config>
Tensor BatchNorm<Config>::forward(const Tensor& x) {
  const Config& c = this->config();
  constexpr bool kImages = std::is_same_v<Config, BatchNorm2dConfig>;
  bool rank_fits = kImages ? x.rank() == 4 : x.rank() == 2 || x.rank() == 3;
  if (!rank_fits || x.dim(1) != c.num_features)
    this->refuse(x, fmt::format("the input does not fit a {} layer", Config::kType),
                 fmt::format(kImages ? "[N, {0}, H, W]" : "[N, {0}] or [N, {0}, L]", c.num_features),
                 "num_features is the extent of axis 1 of the input");
  Tensor gamma = weight_.defined() ? weight_ : full({c.num_features}, 1, x.dtype());
  Tensor beta = bias_.defined() ? bias_ : full({c.num_features}, 0, x.dtype());
  if (!this->training()) return batch_norm_with(x, gamma, beta, running_mean_, running_var_, c.eps);
  int64_t count = x.numel() / c.num_features;
  if (count < 2)
    this->refuse(x, "a batch of one value a channel has no variance to train on",
                 "at least 2 values a channel", "drop a last batch of one sample, or evaluate with eval()");
  BatchNormResult result = batch_norm(x, gamma, beta, c.eps);
  record(result.mean, result.var, count);
  return result.y;
}

template <class Config>
void BatchNorm<Config>::record(const Tensor& mean, const Tensor& var, int64_t count) {
  NoGrad no_grad;
  double momentum = this->config().momentum, n = static_cast<double>(count);
  auto add = [&](const Tensor& running, const Tensor& of_batch, double weight) {
    running.assign(rounded_once(
        running, [&](const Tensor& w) { return w * (1 - momentum) + widened(of_batch) * weight; }));
  };
  add(running_mean_, mean, momentum);
  add(running_var_, var, momentum * n / (n - 1));
  num_batches_tracked_.assign(num_batches_tracked_ + 1.0);
}

template class BatchNorm<BatchNorm1dConfig>;
template class BatchNorm<BatchNorm2dConfig>;

}  // namespace wholestep::nn
