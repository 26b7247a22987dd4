// Where a branch could overflow, its operand is clipped to where the branch is taken, so that gradients stay
// finite.
#include "wholestep/ops/activations.h"

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/shape.h"

namespace wholestep {

Tensor prelu(const Tensor& x, const Tensor& weight) {
  if (weight.rank() != 1 || (weight.dim(0) != 1 && (x.rank() < 2 || x.dim(1) != weight.dim(0))))
    throw Error(ErrorCode::kUsage, {.what = "prelu needs one slope, or one for every channel of x",
                                    .got = to_string(x.type()) + " and " + to_string(weight.type()),
                                    .expected = "weight [1], or [C] for x [N, C, ...]"});
  Shape slopes{weight.dim(0)};
  for (int axis = 2; axis < x.rank(); ++axis) slopes.push_back(1);
  return where(x > 0.0, x, reshape(weight, slopes) * x);
}

Tensor elu(const Tensor& x, double alpha) { return where(x > 0.0, x, expm1(minimum(x, 0.0)) * alpha); }

Tensor selu(const Tensor& x) { return elu(x, 1.6732632423543772) * 1.0507009873554805; }

Tensor gelu_tanh(const Tensor& x) {
  constexpr double kSqrt2OverPi = 0.7978845608028654;
  return x * 0.5 * (tanh((x + x * square(x) * 0.044715) * kSqrt2OverPi) + 1.0);
}

Tensor softplus(const Tensor& x, double beta, double threshold) {
  Tensor scaled = x * beta;
  return where(scaled > threshold, x, log1p(exp(minimum(scaled, threshold))) * (1 / beta));
}

Tensor mish(const Tensor& x) { return x * tanh(softplus(x)); }

Tensor hardswish(const Tensor& x) { return x * minimum(maximum(x + 3.0, 0.0), 6.0) * (1.0 / 6); }

}  // namespace wholestep
