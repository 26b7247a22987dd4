// Casts around ops whose kernels take no f16 and bf16. Each such op gets casts of its own: widened values
// live for one op, and what waits for the backward pass waits in two bytes an element.
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
      if (node.op->name == "cast" && is_half(graph_.type(node.inputs[0]).dtype) &&
          graph_.type(node.outputs[0]).dtype == DType::f32) {
        widening_[node.outputs[0]] = node.inputs[0];
        if (kept_[static_cast<size_t>(node.outputs[0])]) operand(node.outputs[0], node);
      } else if (runs_widened(*node.op, graph_.input_types(node))) {
        surround(node);
      } else {
        std::vector<int> made =
            rewriter_.add(*node.op, node.attrs, operands(node), graph_.output_types(node), node);
        for (size_t i = 0; i < made.size(); ++i) rewriter_.map(node.outputs[i], made[i]);
      }
    }
    return rewriter_.finish();
  }

 private:
  int cast_to(int value, DType dtype, const Node& like) {
    return rewriter_.add(find_op("cast"), {{"dtype", std::string(name(dtype))}}, {value},
                         {{dtype, rewriter_.graph().type(value).shape}}, like)[0];
  }

  /// A cast to f32 is made where it is read. An element-wise reader gets one of its own, which becomes the
  /// load of a fused region and ties it to no other reader; the rest share one.
  int operand(int value, const Node& reader) {
    auto widening = widening_.find(value);
    if (widening == widening_.end()) return rewriter_.mapped(value);
    int half = rewriter_.mapped(widening->second);
    if (reader.op->elementwise && reader.op->name != "cast") return cast_to(half, DType::f32, reader);
    if (rewriter_.mapped(value) < 0) rewriter_.map(value, cast_to(half, DType::f32, reader));
    return rewriter_.mapped(value);
  }
  std::vector<int> operands(const Node& node) {
    std::vector<int> values;
    for (int value : node.inputs) values.push_back(operand(value, node));
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
      bool rounds = is_half(dtype) && (kept_[value] || !users_[value].empty());
      rewriter_.map(node.outputs[i], rounds ? cast_to(made[i], dtype, node) : made[i]);
    }
  }

  const Graph& graph_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> kept_;
  Rewriter rewriter_;
  std::map<int, int> widening_;  // old values: a half in f32, and the half
};

}  // namespace

GraphPtr widen(const Graph& graph) { return Widener(graph).run(); }

}  // namespace wholestep
