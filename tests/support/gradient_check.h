// Gradients against central differences of fourth order, in f64, as results of a test.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "wholestep/graph/gradcheck.h"

namespace wholestep::test {

using GradientCheck = GradcheckOptions;

/// gradcheck(), its error as the message.
testing::AssertionResult gradients_agree(const ScalarFunction& f, const std::vector<Tensor>& inputs,
                                         const GradientCheck& check = {});

/// sum over all floating-point tensors of sum(t * w) with fixed weights w of magnitude 0.5 to 1.5 and random
/// sign: a scalar that every element reaches with a weight of its own.
Tensor weighted_sum(const std::vector<Tensor>& tensors, uint64_t seed = 2);

/// Results of f(inputs), and behind them the gradients, by the floating-point inputs and then the parameters,
/// of the sum over results of sum(result * w); w are formula_values() of the streams 9, 10, ... as in
/// tests/reference. Results of another dtype add nothing; without any, or anything to differentiate by, there
/// are no gradients. Eager inputs require gradients before.
std::vector<Tensor> with_gradients(const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& f,
                                   const std::vector<Tensor>& inputs,
                                   const std::vector<Tensor>& parameters = {});

}  // namespace wholestep::test
