// Casts around ops whose kernels take no f16 and bf16. Each such op gets casts of its own: widened values
// live for one op, and what waits for the backward pass waits in two bytes an element.
#include "wholestep/graph/widen.h"
#include "wholestep/compile/passes.h"

namespace wholestep {

GraphPtr widen(const Graph& graph) {
  Rewriter rewriter(graph);
  auto users = graph.users();
  auto kept = graph.kept();
  auto cast_to = [&](int value, DType dtype, const Node& like) {
    return rewriter.add(find_op("cast"), {{"dtype", std::string(name(dtype))}}, {value},
                        {{dtype, rewriter.graph().type(value).shape}}, like)[0];
  };
  for (const Node& node : graph.nodes) {
    if (!runs_widened(*node.op, graph.input_types(node))) {
      rewriter.copy(node);
      continue;
    }
    std::vector<int> inputs = rewriter.mapped(node.inputs);
    for (int& input : inputs)
      if (is_half(rewriter.graph().type(input).dtype)) input = cast_to(input, DType::f32, node);
    std::vector<int> made =
        rewriter.add(*node.op, node.attrs, inputs, widened(graph.output_types(node)), node);
    for (size_t i = 0; i < made.size(); ++i) {
      DType dtype = graph.type(node.outputs[i]).dtype;
      size_t old = static_cast<size_t>(node.outputs[i]);
      bool read = kept[old] || !users[old].empty();
      rewriter.map(node.outputs[i], is_half(dtype) && read ? cast_to(made[i], dtype, node) : made[i]);
    }
  }
  return rewriter.finish();
}

}  // namespace wholestep
