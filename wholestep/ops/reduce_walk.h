// A reduction as runs: neighbouring axes of one kind are merged, so that every kernel walks memory in order.
#pragma once
#include <algorithm>
#include <vector>

#include "wholestep/base/shape.h"

namespace wholestep {

/// Extents and strides of the kept axes (outermost first) and of the reduced ones.
struct Walk {
  std::vector<int64_t> kept_extents, kept_strides, reduced_extents, reduced_strides;
  int64_t kept = 1, reduced = 1;

  Walk(const Shape& shape, const std::vector<int64_t>& axes) {
    auto strides = shape.strides();
    int last_kind = -1;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      int64_t extent = shape[axis], stride = strides[static_cast<size_t>(axis)];
      int kind = std::ranges::find(axes, axis) != axes.end();
      (kind ? reduced : kept) *= extent;
      if (extent == 1) continue;
      auto& extents = kind ? reduced_extents : kept_extents;
      auto& steps = kind ? reduced_strides : kept_strides;
      if (kind == last_kind) extents.back() *= extent, steps.back() = stride;
      else extents.push_back(extent), steps.push_back(stride);
      last_kind = kind;
    }
  }
  static int64_t offset(const std::vector<int64_t>& extents, const std::vector<int64_t>& strides,
                        int64_t index) {
    int64_t at = 0;
    for (size_t i = extents.size(); i-- > 0; index /= extents[i]) at += index % extents[i] * strides[i];
    return at;
  }
  int64_t kept_offset(int64_t i) const { return offset(kept_extents, kept_strides, i); }
  int64_t reduced_offset(int64_t i) const { return offset(reduced_extents, reduced_strides, i); }
  bool inner_reduced() const { return !reduced_strides.empty() && reduced_strides.back() == 1; }
};

/// Whether results of a reduction of x have the rows of x.
inline bool keeps_rows(const Shape& x, const std::vector<int64_t>& axes) {
  return x.rank() > 0 && x[0] > 1 && std::ranges::find(axes, 0) == axes.end();
}

}  // namespace wholestep
