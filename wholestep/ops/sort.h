// Sorting along an axis: one op orders indices, and values follow by them. NaN counts as the largest; equal
// elements keep their order. Names and defaults are PyTorch's.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

struct Sorted {
  Tensor values;
  Tensor indices;  ///< i64, where along the axis each value was
};

/// The indices along one axis that put x in order, i64 of x's shape.
Tensor argsort(const Tensor& x, int64_t axis = -1, bool descending = false);
Sorted sort(const Tensor& x, int64_t axis = -1, bool descending = false);
/// The k largest (or smallest) elements along one axis, in order. kUsage unless 0 <= k <= its extent.
Sorted topk(const Tensor& x, int64_t k, int64_t axis = -1, bool largest = true);

}  // namespace wholestep
