#include "wholestep/compile/norm_bound.h"

#include <algorithm>
#include <limits>

#include "wholestep/ops/epilogue.h"
#include "wholestep/ops/matmul_fused.h"

namespace wholestep {

// All by Cauchy and Schwarz: an element of a product is beyond neither the norm of its row times that of its
// column, nor is a part of its sum. Of a convolution each tap is such a product. A mask makes nothing larger.
std::optional<NormBound::Rule> NormBound::rule_of(int value) const {
  const int index = graph_.values[static_cast<size_t>(value)].node;
  if (index < 0) return {};
  const Node& node = graph_.node(index);
  const std::string& op = node.op->name;
  auto numel = [&](int of) { return static_cast<double>(graph_.type(of).shape.numel()); };
  auto taps = [&](int weight) {
    const Shape& shape = graph_.type(weight).shape;
    return static_cast<double>(shape[2] * shape[3]);
  };
  if (op == "matmul" && (node.inputs.size() == 2 || masks(node.attrs)) && !clips(node.attrs))
    return Rule{1, {node.inputs[0], node.inputs[1]}};
  if (op == "conv2d_dx") return Rule{taps(node.inputs[1]), {node.inputs[0], node.inputs[1]}};
  if (op == "conv2d_dw" && value == node.outputs[0])
    return Rule{taps(value), {node.inputs[0], node.inputs[1]}};
  if (op == "conv2d_dw" && node.outputs.size() == 2)
    return Rule{numel(node.inputs[1]) / numel(value), {node.inputs[1]}};
  if (op == "sum" && numel(value) > 0) return Rule{numel(node.inputs[0]) / numel(value), {node.inputs[0]}};
  return {};
}

bool NormBound::covers(int value) const {
  value = before_reshapes(graph_, value);
  if (given_(value)) return true;
  const std::optional<Rule> rule = rule_of(value);
  return rule && std::ranges::all_of(rule->values, [&](int of) { return covers(of); });
}

NormBound::Factor NormBound::factor_of(int value) {
  value = before_reshapes(graph_, value);
  if (auto found = known_.find(value); found != known_.end()) return found->second;
  if (given_(value)) {
    operands_.push_back(value);
    return known_[value] = {.is_operand = true, .number = operands_.size() - 1};
  }
  const Rule rule = *rule_of(value);
  Product product{rule.factor, {}};
  for (int of : rule.values) product.of.push_back(factor_of(of));
  products_.push_back(product);
  return known_[value] = {.is_operand = false, .number = products_.size() - 1};
}

ElementwiseProgram NormBound::program(DType dtype) const {
  ElementwiseProgram program;
  program.compute = DType::f64;
  program.inputs = static_cast<int>(operands_.size());
  for (const Product& product : products_) program.immediates.push_back(product.factor);
  program.immediates.push_back(
      dtype == DType::f32 ? std::numeric_limits<double>::max() / (kMostReach * kMostReach) : 1);
  auto add = [&](ElementwiseCode code, int a, int b) {
    program.instructions.push_back({.code = code, .operands = {a, b, -1}});
    return program.first_result() + static_cast<int>(program.instructions.size()) - 1;
  };
  std::vector<int> made;
  for (size_t i = 0; i < products_.size(); ++i) {
    int result = program.inputs + static_cast<int>(i);
    for (const Factor& of : products_[i].of)
      result =
          add(ElementwiseCode::mul, result, of.is_operand ? static_cast<int>(of.number) : made[of.number]);
    made.push_back(result);
  }
  int total = made[0];
  for (size_t i = 1; i < made.size(); ++i) total = add(ElementwiseCode::add, total, made[i]);
  program.outputs = {add(ElementwiseCode::mul, total, program.first_result() - 1)};
  return program;
}

}  // namespace wholestep
