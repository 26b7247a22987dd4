// Gradients as a whole: their norm, limiting it or their elements, and whether all of them are numbers.
#pragma once
#include <span>
#include <vector>

#include "wholestep/graph/tensor.h"

namespace wholestep::optim {

/// Square root of the sum of squares of all elements of all gradients, an f64 scalar.
Tensor grad_norm(std::span<const Tensor> grads);

struct ClippedGrads {
  std::vector<Tensor> grads;
  Tensor norm;  ///< before clipping
};
/// Gradients times min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ (Pascanu et al. 2013).
/// kUsage unless max_norm is above 0.
ClippedGrads clip_grad_norm(std::span<const Tensor> grads, double max_norm);

/// Each element moved into [-limit, limit], as torch.nn.utils.clip_grad_value_. kUsage unless limit is above
/// 0.
std::vector<Tensor> clip_grad_value(std::span<const Tensor> grads, double limit);

/// Bool scalar: no gradient holds a NaN or an infinity, or a sum beyond its dtype.
Tensor all_finite(std::span<const Tensor> grads);

}  // namespace wholestep::optim
