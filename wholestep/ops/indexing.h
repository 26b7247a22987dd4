// Elements by index, composed of rows by index. Indices are i32 or i64. One out of range is kUsage naming it,
// eagerly; inside a compiled step what it reads is NaN (255 in integers) and what it would add to is not
// touched. Names and defaults are PyTorch's.
#pragma once
#include "wholestep/ops/gather.h"

namespace wholestep {

/// x at index [B] along one axis, whose extent becomes B.
Tensor index_select(const Tensor& x, int64_t axis, const Tensor& index);
/// Along axis 0 of three: out[i][j][k] = x[index[i][j][k]][j][k], likewise along others. index has the rank
/// of x and is nowhere longer but along the axis; the result has its shape.
Tensor gather(const Tensor& x, int64_t axis, const Tensor& index);
/// x, and along axis 0 of three: out[index[i][j][k]][j][k] += src[i][j][k] for every element of index, in
/// row-major order. index has the rank of x and src and is nowhere longer than src, nor than x but along the
/// axis.
Tensor scatter_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src);
/// index [...] -> i64 [..., num_classes]: 1 at the index, else 0. -1: one more than the largest index, which
/// only an eager one has.
Tensor one_hot(const Tensor& index, int64_t num_classes = -1);

}  // namespace wholestep
