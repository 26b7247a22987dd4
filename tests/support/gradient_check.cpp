// What gradcheck() says as a result of a test, and the scalar most checks differentiate.
#include "support/gradient_check.h"

#include "wholestep/base/philox.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {

testing::AssertionResult gradients_agree(const ScalarFunction& f, const std::vector<Tensor>& inputs,
                                         const GradientCheck& check) {
  try {
    gradcheck(f, inputs, check);
    return testing::AssertionSuccess();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kFailure) throw;
    return testing::AssertionFailure() << error.what();
  }
}

Tensor weighted_sum(const std::vector<Tensor>& tensors, uint64_t seed) {
  PhiloxStream stream(seed, 13);
  Tensor total;
  for (const Tensor& t : tensors) {
    if (!is_floating(t.dtype())) continue;
    std::vector<double> weights(static_cast<size_t>(t.numel()));
    for (double& weight : weights) {
      double magnitude = 0.5 + stream.uniform();
      weight = stream.next() & 1 ? magnitude : -magnitude;
    }
    Tensor weighted = sum(cast(t, DType::f64) * tensor(weights, t.shape()));
    total = total.defined() ? total + weighted : weighted;
  }
  return total;
}

}  // namespace wholestep::test
