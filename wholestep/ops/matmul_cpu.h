// What the CPU kernels of matmul share: the request as numbers, and what prepares them.
#pragma once
#include <string>

#include "wholestep/backend/backend.h"

namespace wholestep {

/// op(a) [m, k] times op(b) [k, n], plus bias [n].
struct MatmulDims {
  int64_t m, n, k;
  bool transpose_a, transpose_b, bias, relu;
};
MatmulDims matmul_dims(std::span<const TensorType> inputs, const Attrs& attrs);

/// By the kernels of backend/cpu/gemm.h, f32.
std::string refuse_matmul_gemm(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_gemm(const KernelRequest& request);
/// Plain loops with sums in f64.
std::unique_ptr<PreparedKernel> prepare_matmul_reference(const KernelRequest& request);

}  // namespace wholestep
