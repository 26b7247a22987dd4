// The fast CPU kernel of matmul, and the reading of its operands that all kernels share.
#pragma once
#include "wholestep/backend/backend.h"

namespace wholestep {

/// op(a) [m, k] times op(b) [k, n].
struct MatmulDims {
  int64_t m, n, k;
  bool transpose_a, transpose_b, bias, relu;
};
MatmulDims matmul_dims(std::span<const TensorType> inputs, const Attrs& attrs);

std::string refuse_matmul_gemm(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_gemm(const KernelRequest& request);

}  // namespace wholestep
