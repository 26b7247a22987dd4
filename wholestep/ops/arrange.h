// Arranging elements: axes added, removed and joined, tensors cut, turned and repeated. Negative axes count
// from the end; kUsage where an axis does not exist. Names and defaults are PyTorch's.
#pragma once
#include "wholestep/ops/shape.h"
#include "wholestep/ops/split.h"

namespace wholestep {

Tensor squeeze(const Tensor& x);                  ///< without all axes of extent 1
Tensor squeeze(const Tensor& x, int64_t axis);    ///< without this axis, where its extent is 1
Tensor unsqueeze(const Tensor& x, int64_t axis);  ///< an axis of extent 1 more: axis `axis` of the result
Tensor transpose(const Tensor& x, int64_t a, int64_t b);  ///< two axes exchanged
/// Tensors of one type side by side along a new axis.
Tensor stack(const std::vector<Tensor>& parts, int64_t axis = 0);
/// Pieces of `size` along one axis, the last one smaller where it does not divide. kUsage unless size > 0.
std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t axis = 0);
/// At most so many pieces of equal size, the last one smaller where it does not divide.
std::vector<Tensor> chunk(const Tensor& x, int64_t chunks, int64_t axis = 0);
/// Without one axis: the elements at `index` (negative: from the end) of it.
Tensor select(const Tensor& x, int64_t axis, int64_t index);
/// Every step-th element of slice(x, axis, start, stop): x[start:stop:step]. kUsage unless step > 0, as in
/// PyTorch.
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step);
/// In opposite order along these axes.
Tensor flip(const Tensor& x, const std::vector<int64_t>& axes);
/// Shifted along one axis, what leaves at one end coming in at the other.
Tensor roll(const Tensor& x, int64_t shift, int64_t axis);
Tensor roll(const Tensor& x, int64_t shift);  ///< x flattened, rolled, and given its shape back
/// So many copies along every axis; more counts than axes add axes in front. kUsage for fewer.
Tensor repeat(const Tensor& x, const std::vector<int64_t>& counts);
/// x with `value` around it: before and after the last axis, then the one before it, and so on (PyTorch's
/// F.pad). kUsage where counts are negative or not two for each of some of the axes.
Tensor pad(const Tensor& x, const std::vector<int64_t>& counts, double value = 0);
/// x [..., M, N], 0 above (below) the diagonal that is so many above the main one.
Tensor tril(const Tensor& x, int64_t diagonal = 0);
Tensor triu(const Tensor& x, int64_t diagonal = 0);
/// x with two axes of one extent replaced by their diagonal, which comes last.
Tensor diagonal(const Tensor& x, int64_t axis_a = 0, int64_t axis_b = 1);

}  // namespace wholestep
