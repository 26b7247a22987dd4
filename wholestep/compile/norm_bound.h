// What sums of squares of gradients are at most, by those of the values they are made of: known before the
// gradients are.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "wholestep/compile/passes.h"
#include "wholestep/ops/elementwise_program.h"

namespace wholestep {

/// An element-wise program in f64 that adds up bounds.
class NormBound {
 public:
  /// `given`: whether the sum of squares of a value is to be had; of other values it follows from what makes
  /// them.
  NormBound(const Graph& graph, std::function<bool(int value)> given)
      : graph_(graph), given_(std::move(given)) {}

  /// Whether there is a bound of a value.
  bool covers(int value) const;
  /// Adds the bounds of the value and of all between it and what is given.
  void add(int value) { factor_of(value); }
  /// The values whose sums of squares the program takes, in order, before they were reshaped.
  const std::vector<int>& operands() const { return operands_; }
  /// The sum of all bounds, that many times as large that it is infinite where an element, or part of its
  /// sum, could be near the largest number of its type.
  ElementwiseProgram program(DType dtype) const;

 private:
  /// The sum of squares of a result is at most `factor` times those of the operands multiplied.
  struct Rule {
    double factor;
    std::vector<int> values;
  };
  /// An operand of the program, or one of the products.
  struct Factor {
    bool is_operand;
    size_t number;
  };
  struct Product {
    double factor;
    std::vector<Factor> of;
  };
  std::optional<Rule> rule_of(int value) const;
  Factor factor_of(int value);

  const Graph& graph_;
  std::function<bool(int)> given_;
  std::vector<int> operands_;
  std::vector<Product> products_;
  std::map<int, Factor> known_;  ///< by value
};

}  // namespace wholestep
