// Casts around ops whose kernels take no f16 and bf16. A cast to f32 is made anew for every reader: widened
// values live for one op, and what waits for the backward pass waits in two bytes an element.
#include <map>

#include "wholestep/compile/passes.h"
#include "wholestep/graph/widen.h"

namespace wholestep {
namespace {

class Widener {
 public:
  explicit Widener(const Graph& graph)
      : graph_(graph), users_(graph.users()), kept_(graph.kept()), rewriter_(graph) {}

  GraphPtr run() {
    for (const Node& node : graph_.nodes) {
      if (is_widening(graph_, node) && !kept_[static_cast<size_t>(node.outputs[0])])
        halves_[node.outputs[0]] = node.inputs[0];
      else if (runs_widened(*node.op, graph_.input_types(node))) surround(node);
      else
        map_results(node,
                    rewriter_.add(*node.op, node.attrs, operands(node), graph_.output_types(node), node));
    }
    return rewriter_.finish();
  }

 private:
  int cast_to(int value, DType dtype, const Node& like) {
    return rewriter_.add(find_op("cast"), {{"dtype", std::string(name(dtype))}}, {value},
                         {{dtype, rewriter_.graph().type(value).shape}}, like)[0];
  }

  std::vector<int> operands(const Node& node) {
    std::vector<int> values;
    for (int value : node.inputs) {
      auto half = halves_.find(value);
      values.push_back(half == halves_.end() ? rewriter_.mapped(value)
                                             : cast_to(rewriter_.mapped(half->second), DType::f32, node));
    }
    return values;
  }

  void surround(const Node& node) {
    std::vector<int> inputs = operands(node);
    for (int& input : inputs)
      if (is_half(rewriter_.graph().type(input).dtype)) input = cast_to(input, DType::f32, node);
    std::vector<int> made =
        rewriter_.add(*node.op, node.attrs, inputs, widened(graph_.output_types(node)), node);
    for (size_t i = 0; i < made.size(); ++i) {
      size_t value = static_cast<size_t>(node.outputs[i]);
      DType dtype = graph_.type(node.outputs[i]).dtype;
      if (is_half(dtype) && (kept_[value] || !users_[value].empty())) made[i] = cast_to(made[i], dtype, node);
    }
    map_results(node, made);
  }

  void map_results(const Node& node, const std::vector<int>& made) {
    for (size_t i = 0; i < made.size(); ++i) rewriter_.map(node.outputs[i], made[i]);
  }

  const Graph& graph_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> kept_;
  Rewriter rewriter_;
  std::map<int, int> halves_;  // old values: a half in f32, and the half
};

}  // namespace

bool is_widening(const Graph& graph, const Node& node) {
  return node.op->name == "cast" && is_half(graph.type(node.inputs[0]).dtype) &&
         graph.type(node.outputs[0]).dtype == DType::f32;
}

GraphPtr widen(const Graph& graph) { return Widener(graph).run(); }

}  // namespace wholestep
