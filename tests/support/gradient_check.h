// Gradients against central differences of fourth order, in f64.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "wholestep/graph/tensor.h"

namespace wholestep::test {

/// A scalar (rank 0, f64) computed from tensors by the library's ops.
using ScalarFunction = std::function<Tensor(const std::vector<Tensor>&)>;

struct GradientCheck {
  double step = 2e-4;         ///< elements move by up to twice this
  double tolerance = 1e-6;    ///< relative to the derivative or the gradient's typical element, the larger
  int64_t elementwise = 512;  ///< up to so many elements are checked one by one, more along random directions
  int directions = 32;
  bool in_place = false;  ///< move the given tensors themselves, which f reaches some other way (a module's)
};

/// Whether grad(f) equals the numeric derivative with respect to every f64 tensor in `inputs`; others stay
/// fixed. The message names the worst element.
testing::AssertionResult gradients_agree(const ScalarFunction& f, const std::vector<Tensor>& inputs,
                                         const GradientCheck& check = {});

/// sum over all floating-point tensors of sum(t * w) with fixed weights w of magnitude 0.5 to 1.5 and random
/// sign: a scalar that every element reaches with a weight of its own.
Tensor weighted_sum(const std::vector<Tensor>& tensors, uint64_t seed = 2);

}  // namespace wholestep::test
