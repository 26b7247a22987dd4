// Matrix product with transposes, bias and activation in one op.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

/// op(a) [..., M, K] times op(b) [..., K, N] -> [..., M, N], where op transposes the last two axes if asked.
/// Leading axes broadcast (NumPy's matmul): one product a matrix. A vector [K] is a row on the left, a column
/// on the right, and its axis is gone from the result. One floating-point dtype; kUsage where extents do not
/// fit.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);
/// x [..., in] times weight [out, in] transposed, plus bias [out] where defined -> [..., out].
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace wholestep
