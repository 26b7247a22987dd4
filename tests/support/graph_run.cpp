// A graph interpreter in a dozen lines.
#include "support/graph_run.h"

namespace wholestep::test {

GraphRun run_eagerly(const Graph& graph, const std::map<std::string, Tensor>& batch) {
  NoGrad no_grad;
  std::vector<Tensor> values(graph.values.size());
  for (const GraphInput& input : graph.inputs)
    values[static_cast<size_t>(input.value)] =
        input.kind == InputKind::kBatch ? batch.at(input.name) : input.binding;
  for (const Node& node : graph.nodes) {
    std::vector<Tensor> operands;
    for (int value : node.inputs) operands.push_back(values[static_cast<size_t>(value)]);
    std::vector<Tensor> results = apply(*node.op, operands, node.attrs);
    for (size_t i = 0; i < results.size(); ++i) values[static_cast<size_t>(node.outputs[i])] = results[i];
  }
  GraphRun run;
  for (const GraphOutput& output : graph.outputs)
    run.outputs[output.name] = values[static_cast<size_t>(output.value)];
  for (const Update& update : graph.updates)
    run.updates[graph.find_input(update.target)->name] = values[static_cast<size_t>(update.value)];
  return run;
}

}  // namespace wholestep::test
