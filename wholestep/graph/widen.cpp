// Which ops run widened, and widening.
#include "wholestep/graph/widen.h"

#include <algorithm>

namespace wholestep {

Types widened(Types types) {
  for (TensorType& type : types) type.dtype = widened(type.dtype);
  return types;
}

Tensor widened(const Tensor& t) { return t.defined() ? t.to(widened(t.dtype())) : t; }

std::vector<Tensor> widened(std::vector<Tensor> tensors) {
  for (Tensor& t : tensors) t = widened(t);
  return tensors;
}

bool runs_widened(const OpDef& op, std::span<const TensorType> inputs) {
  return !op.elementwise && !op.takes_half &&
         std::ranges::any_of(inputs, [](const TensorType& type) { return is_half(type.dtype); });
}

}  // namespace wholestep
