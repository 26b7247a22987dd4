// What the products of matrices share: the request as numbers, the gradient rule, and the CPU kernels.
#pragma once
#include <string>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/backend/cpu/kernels.h"
#include "wholestep/graph/op.h"
#include "wholestep/ops/epilogue.h"

namespace wholestep {

/// op(a) [m, k] times op(b) [k, n], plus bias [n]; see epilogue.h for the rest.
struct MatmulDims {
  int64_t m, n, k;
  bool transpose_a, transpose_b, bias, masked, relu;
  int64_t third() const { return third_operand(bias, masked); }
  /// What lies row by row as the result does.
  uint64_t row_inputs() const { return (transpose_a ? 0 : 1) | (masked ? 4 : 0); }
};
MatmulDims matmul_dims(std::span<const TensorType> inputs, const Attrs& attrs);
/// The gradients of one product, or of a batch of them, by matmul().
std::vector<Tensor> matmul_vjp(const OpRecord& record, std::span<const Tensor> output_grads);
/// matmul() of operands of which one is a vector or has leading axes, by the op of one product where b is a
/// matrix and by batch_matmul otherwise.
Tensor matmul_of_batches(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b);

/// By cpu_kernels(), f32.
std::string refuse_matmul_gemm(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_gemm(const KernelRequest& request);
/// By bf16_kernels(); for products of every kind, convolutions too.
std::string refuse_bf16(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_bf16(const KernelRequest& request);
/// Whether what the parts of a product share is large enough for a phase of its own, and stays in the caches.
bool worth_sharing(const Gemm& gemm);
/// Puts a phase into the call that rounds what the parts of a product share to the front of the workspace;
/// how many bytes it takes there. For kernels with pack_shared.
int64_t pack_shared_first(CpuCall& call, const Gemm& gemm, const CpuKernels& kernels);
/// The product as the kernels of backend/cpu/gemm.h take it.
Gemm matmul_gemm(const MatmulDims& dims);
/// Rows of the result by plain loops with sums in f64; `third` is the bias or the mask, or null.
template <class T>
void matmul_plain(const MatmulDims& dims, const T* a, const T* b, const T* third, T* c, Range rows);
/// By matmul_plain().
std::unique_ptr<PreparedKernel> prepare_matmul_reference(const KernelRequest& request);

}  // namespace wholestep
