// How a kernel reads a broadcast operand along the flat index of its result.
#pragma once
#include <vector>

#include "wholestep/base/shape.h"

namespace wholestep {

/// The axes of the result, neighbours of one pattern merged, with the operand's stride along each.
struct ElementAccess {
  DType dtype;
  bool scalar = false;  ///< one element for the whole result
  bool direct = false;  ///< same shape and the compute type, used where it lies
  std::vector<int64_t> extents, strides;
  bool contiguous() const { return extents.size() == 1 && strides[0] == 1; }
};

ElementAccess element_access(const TensorType& operand, const Shape& out, DType compute);

}  // namespace wholestep
