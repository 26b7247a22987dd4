// f16 and bf16 in ops whose kernels compute in wider types: such an op runs in f32 on widened operands, and
// each result is rounded once. Eager execution, the widen pass and gradient rules share these words.
#pragma once
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep {

/// f32 for f16 and bf16; any other dtype is itself. Values do not change.
constexpr DType widened(DType dtype) { return is_half(dtype) ? DType::f32 : dtype; }
Types widened(Types types);
Tensor widened(const Tensor& t);                           ///< undefined where t is
std::vector<Tensor> widened(std::vector<Tensor> tensors);  ///< each of them

/// Whether the op runs on widened operands because its kernels take no f16 and bf16.
bool runs_widened(const OpDef& op, std::span<const TensorType> inputs);

/// fn(x), computed in f32 and rounded at the end where x is f16 or bf16: for compositions, whose every op
/// would round.
template <class Fn>
Tensor rounded_once(const Tensor& x, Fn&& fn) {
  return is_half(x.dtype()) ? fn(widened(x)).to(x.dtype()) : fn(x);
}

}  // namespace wholestep
