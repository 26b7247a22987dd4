// What gradcheck() says as a result of a test, and the scalar most checks differentiate.
#include "support/gradient_check.h"

#include "support/formula.h"
#include "support/op_case.h"
#include "wholestep/base/philox.h"
#include "wholestep/graph/grad.h"
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

std::vector<Tensor> with_gradients(const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& f,
                                   const std::vector<Tensor>& inputs, const std::vector<Tensor>& parameters) {
  std::vector<Tensor> results = f(inputs), wanted;
  for (const Tensor& x : inputs)
    if (is_floating(x.dtype()) && !is_half(x.dtype())) wanted.push_back(x);
  wanted.insert(wanted.end(), parameters.begin(), parameters.end());
  Tensor total;
  for (uint32_t stream = 9; const Tensor& t : results) {
    Tensor weights = tensor(formula_values<double>(stream++, t.numel()), t.shape());
    if (wanted.empty() || t.dtype() != wanted[0].dtype()) continue;
    Tensor weighted = sum(t * converted(weights, t.dtype()));
    total = total.defined() ? total + weighted : weighted;
  }
  if (!total.defined()) return results;
  for (Tensor& g : grad(total, wanted)) results.push_back(std::move(g));
  return results;
}

}  // namespace wholestep::test
