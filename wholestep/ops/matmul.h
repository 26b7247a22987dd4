// Matrix product with transposes, bias and activation in one op.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

/// op(a) [M, K] times op(b) [K, N] -> [M, N], where op transposes if asked.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);
/// x [N, in] times weight [out, in] transposed, plus bias [out] where defined -> [N, out].
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace wholestep
