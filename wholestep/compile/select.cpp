// Chooses the first kernel that accepts each node, prepares it, and keeps what the ones before it said.
#include "wholestep/compile/passes.h"

namespace wholestep {

SelectedKernel select_kernel(const Graph& graph, const Node& node, const Backend& backend) {
  std::vector<TensorType> inputs = graph.input_types(node), outputs = graph.output_types(node);
  KernelRequest request{node.op->name, inputs, outputs, node.attrs};
  Scope scope(node.scope, node.source);
  KernelChoice choice = choose_kernel(*node.op, request, backend.name());
  return {static_cast<int>(&node - graph.nodes.data()), std::string(choice.kernel->name),
          std::move(choice.refusals), choice.kernel->prepare(request)};
}

std::vector<SelectedKernel> select_kernels(const Graph& graph, const Backend& backend) {
  std::vector<SelectedKernel> selected;
  for (const Node& node : graph.nodes) selected.push_back(select_kernel(graph, node, backend));
  return selected;
}

}  // namespace wholestep
