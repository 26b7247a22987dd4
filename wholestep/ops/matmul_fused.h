// Products that are used tile by tile as they are made and never stored: what compile/recompute.cpp puts in
// the place of large weight gradients.
#pragma once
#include "wholestep/graph/op.h"
#include "wholestep/ops/matmul_cpu.h"

namespace wholestep {

/// Products of more terms are refused: on a GPU the operands of a tile are kept in shared memory for the
/// whole sum.
constexpr int64_t kFusedTerms = 72;

/// Sizes of the product of operands 0 and 1.
inline MatmulDims product_dims(const KernelRequest& request) {
  return matmul_dims(request.inputs.first(2), request.attrs);
}
/// What the registers of matmul_fused's program begin with: the product, then operands 2, 3, ...
Types program_operands(std::span<const TensorType> inputs, const Attrs& attrs);
/// What its program makes: all results but dx.
std::span<const TensorType> program_results(const KernelRequest& request);

/// With attribute `input_gradient`, the number of the operand that is the layer's weight W [M, N], a weight's
/// gradient a^T b and its update give the gradient of the layer's input, too: the last result is dx = a W
/// [K, N], of W as it is before the update, which may lie over it. Attribute `masked` makes it 0 where b is
/// not above 0. As a request for op matmul: operands a, W and, for the mask, b.
struct InputGradient {
  explicit InputGradient(const KernelRequest& request);
  static bool asked(const Attrs& attrs) { return attrs.has("input_gradient"); }
  KernelRequest product() const { return {"matmul", inputs, outputs, attrs}; }
  size_t weight;  ///< its number
  bool masked;
  Types inputs, outputs;
  Attrs attrs;
};

std::unique_ptr<PreparedKernel> prepare_matmul_fused_cpu(const KernelRequest& request);
/// With operands rounded to bf16, where refuse_bf16() accepts.
std::unique_ptr<PreparedKernel> prepare_matmul_fused_bf16(const KernelRequest& request);
/// On tensor cores, in TF32, with the gradient by the layer's input in one pass over the weight.
std::string refuse_matmul_fused_columns_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_fused_columns_cuda(const KernelRequest& request);
/// On tensor cores, in TF32.
std::string refuse_product_tensor_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_fused_tensor_cuda(const KernelRequest& request);
/// In the type of the operands.
std::unique_ptr<PreparedKernel> prepare_matmul_fused_tiles_cuda(const KernelRequest& request);

// The sum of squares of op(a) op(b) is the sum of G_ij H_ij over all i and j, where G = op(a)^T op(a) and
// H = op(b) op(b)^T, [K, K]: so the product need not be made, and each operand is read once. All of it is in
// f64. The sum is that of the exact product, whose elements the update makes in f32 or rounder: no part of
// their sums is beyond the `reach`, the sum of sqrt(G_ii H_ii). Where it or an operand is near the largest
// f32, or not finite, neither is the sum of squares.
constexpr double kMostReach = 0x1p127;
std::unique_ptr<PreparedKernel> prepare_matmul_squares_cpu(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_matmul_squares_cuda(const KernelRequest& request);

}  // namespace wholestep
