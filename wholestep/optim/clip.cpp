// One reduction over all gradients, in f64; everything else follows from it.
#include "wholestep/optim/clip.h"

#include <fmt/format.h>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::optim {

Tensor grad_norm(std::span<const Tensor> grads) {
  if (grads.empty()) throw Error(ErrorCode::kUsage, {.what = "there are no gradients to look at"});
  return sqrt(sum_squares({grads.begin(), grads.end()}));
}

ClippedGrads clip_grad_norm(std::span<const Tensor> grads, double max_norm) {
  if (!(max_norm > 0))
    throw Error(ErrorCode::kUsage,
                {.what = "gradients are clipped to a norm above 0", .got = fmt::format("{}", max_norm)});
  NoGrad no_grad;
  ClippedGrads clipped{.grads = {}, .norm = grad_norm(grads)};
  Tensor factor = minimum(max_norm / (clipped.norm + 1e-6), 1.0);
  for (const Tensor& g : grads)
    clipped.grads.push_back(
        rounded_once(g, [&](const Tensor& wide) { return wide * cast(factor, wide.dtype()); }));
  return clipped;
}

std::vector<Tensor> clip_grad_value(std::span<const Tensor> grads, double limit) {
  if (!(limit > 0))
    throw Error(ErrorCode::kUsage,
                {.what = "gradients are clipped to a value above 0", .got = fmt::format("{}", limit)});
  NoGrad no_grad;
  std::vector<Tensor> clipped;
  for (const Tensor& g : grads) clipped.push_back(minimum(maximum(g, -limit), limit));
  return clipped;
}

Tensor all_finite(std::span<const Tensor> grads) {
  NoGrad no_grad;
  return isfinite(grad_norm(grads));  // a NaN or infinity anywhere reaches the norm
}

}  // namespace wholestep::optim
