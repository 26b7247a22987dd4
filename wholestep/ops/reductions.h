// Reductions composed of sum and max, and cumulative sums. `axes`: negative ones count from the end, empty
// means all; kUsage where one is named twice or does not exist. Names and defaults are PyTorch's.
#pragma once
#include <limits>

#include "wholestep/ops/reduce.h"

namespace wholestep {

/// Smallest element; NaN where there is one. The gradient is shared equally among ties (PyTorch's amin).
/// kUsage where there is none.
Tensor min(const Tensor& x, std::vector<int64_t> axes = {}, bool keep_dims = false);
Tensor argmax(const Tensor& x);  ///< of x flattened, i64, rank 0
/// Index of the first smallest element along one axis, i64; NaN counts as the smallest.
Tensor argmin(const Tensor& x, int64_t axis, bool keep_dims = false);
Tensor argmin(const Tensor& x);  ///< of x flattened, i64, rank 0
/// Product, multiplied up in pairs; 1 of no elements; integers and bool into i64.
Tensor prod(const Tensor& x, std::vector<int64_t> axes = {}, bool keep_dims = false);
/// sum((x - mean)^2) / (n - correction) over n elements; NaN or infinite where n <= correction.
Tensor var(const Tensor& x, std::vector<int64_t> axes = {}, double correction = 1, bool keep_dims = false);
/// Square root of var(). Its gradient is 0 where it is 0.
Tensor std(const Tensor& x, std::vector<int64_t> axes = {}, double correction = 1, bool keep_dims = false);
/// The vector norm of order p: (sum |x|^p)^(1/p); of infinity the largest |x|, of -infinity the smallest, of
/// 0 how many are not 0. Its gradient is 0 where it is 0.
Tensor norm(const Tensor& x, double p = 2, std::vector<int64_t> axes = {}, bool keep_dims = false);
/// log(sum(exp(x))), without overflow.
Tensor logsumexp(const Tensor& x, std::vector<int64_t> axes = {}, bool keep_dims = false);
Tensor any(const Tensor& x, std::vector<int64_t> axes = {}, bool keep_dims = false);  ///< bool: one is not 0
Tensor all(const Tensor& x, std::vector<int64_t> axes = {}, bool keep_dims = false);  ///< bool: none is 0
/// Element i is the sum of elements 0 to i along the axis, added up in pairs (Hillis & Steele 1986); integers
/// and bool into i64.
Tensor cumsum(const Tensor& x, int64_t axis);

}  // namespace wholestep
