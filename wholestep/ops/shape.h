// Ops that move elements without changing them.
#pragma once
#include <initializer_list>
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep {

/// The same elements in row-major order under another shape; one extent may be -1.
Tensor reshape(const Tensor& x, std::vector<int64_t> shape);
Tensor reshape(const Tensor& x, const Shape& shape);
inline Tensor reshape(const Tensor& x, std::initializer_list<int64_t> shape) {
  return reshape(x, std::vector<int64_t>(shape));
}
/// Axes start_axis to end_axis merged into one: [N, C, H, W] -> [N, C*H*W] by default, which is nn.Flatten's;
/// torch.flatten begins with axis 0. kUsage where end_axis is before start_axis.
Tensor flatten(const Tensor& x, int64_t start_axis = 1, int64_t end_axis = -1);
/// Axis i of the result is axis axes[i] of x.
Tensor permute(const Tensor& x, std::vector<int64_t> axes);
Tensor transpose(const Tensor& x);  ///< [M, N] -> [N, M]
/// Broadcast to a shape (NumPy's broadcast_to).
Tensor expand(const Tensor& x, const Shape& shape);
/// Elements [start, stop) of one axis, x[start:stop]: negative places count from the end, those past an end
/// stand for it, and there are none where stop is not behind start.
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop);
/// x with zeros added before and after one axis: the adjoint of slice.
Tensor pad(const Tensor& x, int64_t axis, int64_t before, int64_t after);
/// Tensors joined along one axis; the other extents agree.
Tensor concat(const std::vector<Tensor>& parts, int64_t axis);

}  // namespace wholestep
