// Sums of sums: each gradient is reduced on its own, in a fixed order, and the results are added as f64.
#include "wholestep/optim/clip.h"

#include <fmt/format.h>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::optim {
namespace {

template <class Reduce>
Tensor total(std::span<const Tensor> grads, Reduce&& reduce) {
  if (grads.empty()) throw Error(ErrorCode::kUsage, {.what = "there are no gradients to look at"});
  Tensor all;
  for (const Tensor& g : grads) {
    Tensor part = cast(reduce(g), DType::f64);
    all = all.defined() ? all + part : part;
  }
  return all;
}

}  // namespace

Tensor grad_norm(std::span<const Tensor> grads) {
  return sqrt(total(grads, [](const Tensor& g) { return sum_squares(g); }));
}

ClippedGrads clip_grad_norm(std::span<const Tensor> grads, double max_norm) {
  if (!(max_norm > 0))
    throw Error(ErrorCode::kUsage,
                {.what = "gradients are clipped to a norm above 0", .got = fmt::format("{}", max_norm)});
  NoGrad no_grad;
  ClippedGrads clipped{.grads = {}, .norm = grad_norm(grads)};
  Tensor factor = minimum(max_norm / (clipped.norm + 1e-6), 1.0);
  for (const Tensor& g : grads) clipped.grads.push_back(g * cast(factor, g.dtype()));
  return clipped;
}

Tensor all_finite(std::span<const Tensor> grads) {
  NoGrad no_grad;
  // Sums carry every NaN and infinity, and inf - inf is NaN: one read of each gradient, nothing written.
  return isfinite(total(grads, [](const Tensor& g) { return sum(g); }));
}

}  // namespace wholestep::optim
