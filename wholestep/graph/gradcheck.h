// Checking gradient rules numerically: of user code, and of this library in its own tests.
#pragma once
#include <functional>
#include <vector>

#include "wholestep/graph/tensor.h"

namespace wholestep {

/// A scalar (rank 0, f64) computed from tensors by ops, or several of them as one tensor of any shape.
using ScalarFunction = std::function<Tensor(const std::vector<Tensor>&)>;

struct GradcheckOptions {
  double step = 2e-4;         ///< elements move by up to twice this
  double tolerance = 1e-6;    ///< relative to the derivative or the gradient's typical element, the larger
  int64_t elementwise = 512;  ///< up to so many elements are checked one by one, more along random directions
  int directions = 32;
  bool in_place = false;  ///< move the given tensors themselves, which f reaches some other way (a module's)
};

/// Compares grad(f) with the differences (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, exact to O(h^4), for
/// every scalar of f and every f64 tensor in `inputs`; others stay fixed. kFailure naming the first element
/// or direction that disagrees, with both numbers.
void gradcheck(const ScalarFunction& f, const std::vector<Tensor>& inputs,
               const GradcheckOptions& options = {});

}  // namespace wholestep
