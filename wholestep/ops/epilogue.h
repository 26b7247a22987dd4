// What products and convolutions do with finished sums besides adding a bias, by attribute `activation`:
// "relu" clips at 0; "relu_dx" is the mask of a ReLU's gradient, 0 where the last operand, what that ReLU
// gave, is not above 0. The fuse pass sets it.
#pragma once
#include "wholestep/graph/op.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep {

inline bool clips(const Attrs& attrs) { return attrs.text_or("activation", "") == "relu"; }
inline bool masks(const Attrs& attrs) { return attrs.text_or("activation", "") == "relu_dx"; }

/// kUsage where the mask of an op with operands `in` is not as its result.
inline void check_mask(std::span<const TensorType> in, const Attrs& attrs, const TensorType& result) {
  if (masks(attrs) && (in.size() != 3 || in[2] != result))
    throw Error(ErrorCode::kUsage, {.what = "activation relu_dx takes a third operand as the result",
                                    .got = in.size() == 3 ? to_string(in[2]) : "none",
                                    .expected = to_string(result)});
}

/// The gradient of the finished sums from that of an op's first result.
inline Tensor before_activation(const OpRecord& r, const Tensor& g) {
  if (clips(r.attrs)) return where(r.outputs[0] > 0.0, g, 0.0);
  return masks(r.attrs) ? where(r.inputs[2] > 0.0, g, 0.0) : g;
}

/// A third operand as device functions number it, see matmul.cuh.
inline int64_t third_operand(bool bias, bool masked) { return bias ? 1 : masked ? 2 : 0; }

}  // namespace wholestep
