// Reductions over axes.
#pragma once
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep {

/// Sum over `axes` (all when empty), accumulated in f64. Integer and bool inputs are summed exactly into i64.
/// (Reductions of f16 and bf16 are those of f32, rounded.)
Tensor sum(const Tensor& x, std::vector<int64_t> axes = {}, bool keep_dims = false);
Tensor mean(const Tensor& x, std::vector<int64_t> axes = {}, bool keep_dims = false);  ///< floating-point x
/// Sum of the squares of all elements of all tensors, of one floating-point dtype; rank 0, accumulated in
/// f64.
Tensor sum_squares(const std::vector<Tensor>& tensors);
/// Largest element over `axes` (all when empty); NaN where there is one. The gradient is shared equally among
/// ties.
Tensor max(const Tensor& x, std::vector<int64_t> axes = {}, bool keep_dims = false);
/// Index of the first largest element along one axis, i64; NaN counts as the largest.
Tensor argmax(const Tensor& x, int64_t axis, bool keep_dims = false);
/// The adjoint of broadcasting: sums x to `shape`, which must broadcast to x's.
Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace wholestep
