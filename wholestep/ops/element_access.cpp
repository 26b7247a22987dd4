#include "wholestep/ops/element_access.h"

namespace wholestep {

ElementAccess element_access(const TensorType& operand, const Shape& out, DType compute) {
  ElementAccess access{
      .dtype = operand.dtype, .scalar = operand.shape.numel() == 1, .extents = {}, .strides = {}};
  access.direct = operand.shape == out && operand.dtype == compute;
  auto strides = operand.shape.strides();
  for (int axis = 0; axis < out.rank(); ++axis) {
    if (out[axis] == 1) continue;
    int own = axis - (out.rank() - operand.shape.rank());
    int64_t stride = own < 0 || operand.shape[own] == 1 ? 0 : strides[static_cast<size_t>(own)];
    if (!access.extents.empty() && access.strides.back() == stride * out[axis]) {
      access.extents.back() *= out[axis];
      access.strides.back() = stride;
    } else {
      access.extents.push_back(out[axis]);
      access.strides.push_back(stride);
    }
  }
  if (access.extents.empty()) access.extents = {1}, access.strides = {0};
  return access;
}

}  // namespace wholestep
