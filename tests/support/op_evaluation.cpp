// Walking multi-indices.
#include "support/op_evaluation.h"

#include <cmath>

namespace wholestep::test {

size_t Operand::offset(const Index& index) const {
  int64_t flat = 0;
  for (int axis = 0; axis < shape.rank(); ++axis)
    flat = flat * shape[axis] + index[static_cast<size_t>(axis)];
  return static_cast<size_t>(flat);
}

void for_each(const Shape& shape, const std::function<void(const Index&)>& fn) {
  Index index(static_cast<size_t>(shape.rank()), 0);
  for (int64_t flat = 0; flat < shape.numel(); ++flat) {
    int64_t rest = flat;
    for (int axis = shape.rank() - 1; axis >= 0; rest /= shape[axis], --axis)
      index[static_cast<size_t>(axis)] = rest % shape[axis];
    fn(index);
  }
}

Expected exact(std::vector<double> values) {
  std::vector<double> magnitudes(values.size(), 0);
  return {std::move(values), std::move(magnitudes)};
}

Sums::Sums(const Operand& result)
    : Expected(exact(std::vector<double>(static_cast<size_t>(result.shape.numel()), 0))) {}

void Sums::add(size_t element, double term) {
  values[element] += term;
  magnitudes[element] += std::abs(term);
}

}  // namespace wholestep::test
