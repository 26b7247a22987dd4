// Products of matrices in batches: batch_matmul, and what matmul() makes of operands that are not two
// matrices.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

/// matmul() of operands of which one is a vector or has leading axes, by the op of one product where b is a
/// matrix and by batch_matmul otherwise.
Tensor matmul_of_batches(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b);

}  // namespace wholestep
