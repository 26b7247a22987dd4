// Cutting a tensor into parts in one op, whose gradient is one concat: a slice a part would pad a whole
// tensor a part.
#pragma once
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep {

/// Parts of `sizes` elements along one axis, in order; they fill it. kUsage where they do not. The adjoint of
/// concat().
std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t axis = 0);

}  // namespace wholestep
