// The form of the naive evaluations of op_reference.cpp: operands as doubles, results with magnitudes.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "support/op_reference.h"

namespace wholestep::test {

using Index = std::vector<int64_t>;

struct Operand {
  Shape shape;
  std::vector<double> values;
  DType dtype = DType::f64;

  size_t offset(const Index& index) const;
  double at(const Index& index) const { return values[offset(index)]; }
};

struct Question {
  std::vector<Operand> in;
  const Attrs& attrs;
  std::vector<Operand> out;  ///< shapes only
};

/// Calls fn(multi-index) for every element of a shape, in row-major order.
void for_each(const Shape& shape, const std::function<void(const Index&)>& fn);

/// Results that are no sums: any rounding shows.
Expected exact(std::vector<double> values);
/// Zeros like a result, to add terms to.
struct Sums : Expected {
  explicit Sums(const Operand& result);
  void add(size_t element, double term);
};

/// Attribute `program` over the operands, instruction by instruction, each by its own op in f64.
std::vector<Expected> program_results(const Question& q);

using Evaluations = std::map<std::string, std::vector<Expected> (*)(const Question&), std::less<>>;
const Evaluations& image_evaluations();  ///< convolution, pooling, batch normalisation

}  // namespace wholestep::test
