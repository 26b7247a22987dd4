// Chooses the first kernel that accepts each node, prepares it, and keeps what the ones before it said.
#include "wholestep/compile/passes.h"

namespace wholestep {

std::vector<SelectedKernel> select_kernels(const Graph& graph, const Backend& backend) {
  std::vector<SelectedKernel> selected;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    std::vector<TensorType> inputs = graph.input_types(node), outputs = graph.output_types(node);
    KernelRequest request{node.op->name, inputs, outputs, node.attrs};
    Scope scope(node.scope, node.source);
    KernelChoice choice = choose_kernel(*node.op, request, backend.name());
    selected.push_back({static_cast<int>(i), std::string(choice.kernel->name), std::move(choice.refusals),
                        choice.kernel->prepare(request)});
  }
  return selected;
}

}  // namespace wholestep
