// Runs a traced graph node by node through the eager kernels: the plainest meaning of a graph, for tests.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "wholestep/graph/graph.h"

namespace wholestep::test {

/// Runs the graph once on the given batch inputs (by name), then applies its updates; returns its outputs.
inline std::vector<Tensor> interpret(const Graph& graph, const std::map<std::string, Tensor>& batch) {
  NoGrad no_grad;
  std::vector<Tensor> values(graph.values.size());
  auto at = [&](int value) -> Tensor& { return values[static_cast<size_t>(value)]; };
  for (const GraphInput& input : graph.inputs)
    at(input.value) = input.kind == InputKind::kBatch ? batch.at(input.name) : input.binding;
  for (const Node& node : graph.nodes) {
    std::vector<Tensor> operands;
    for (int value : node.inputs) operands.push_back(at(value));
    std::vector<Tensor> results = apply(*node.op, operands, node.attrs);
    for (size_t i = 0; i < results.size(); ++i) at(node.outputs[i]) = results[i];
  }
  std::vector<Tensor> outputs;
  for (const GraphOutput& output : graph.outputs) outputs.push_back(at(output.value).clone());
  for (const Update& update : graph.updates) at(update.target).assign(at(update.value).clone());
  return outputs;
}

}  // namespace wholestep::test
