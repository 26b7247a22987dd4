// The copying frame of graph passes.
#include "wholestep/compile/passes.h"

namespace wholestep {

int before_reshapes(const Graph& graph, int value) {
  for (int node;
       (node = graph.values[static_cast<size_t>(value)].node) >= 0 && graph.node(node).op->name == "reshape";)
    value = graph.node(node).inputs[0];
  return value;
}

Rewriter::Rewriter(const Graph& from)
    : from_(from), to_(std::make_shared<Graph>()), map_(from.values.size(), -1) {
  to_->turn = from.turn;
  for (const GraphInput& input : from.inputs)
    map(input.value,
        to_->add_input(input.kind, input.name, from.type(input.value), input.binding).impl()->value);
}

std::vector<int> Rewriter::mapped(const std::vector<int>& old_values) const {
  std::vector<int> result;
  for (int value : old_values) {
    WHOLESTEP_CHECK(mapped(value) >= 0);
    result.push_back(mapped(value));
  }
  return result;
}

void Rewriter::copy(const Node& node) {
  std::vector<int> made = add(*node.op, node.attrs, mapped(node.inputs), from_.output_types(node), node);
  for (size_t i = 0; i < made.size(); ++i) map(node.outputs[i], made[i]);
}

std::vector<int> Rewriter::add(const OpDef& op, Attrs attrs, std::vector<int> inputs, const Types& types,
                               const Node& like) {
  std::vector<int> made = to_->add_node(op, std::move(attrs), std::move(inputs), types);
  to_->nodes.back().scope = like.scope;
  to_->nodes.back().source = like.source;
  to_->nodes.back().turn = like.turn;
  return made;
}

GraphPtr Rewriter::finish() {
  for (const Update& update : from_.updates)
    to_->updates.push_back({mapped(update.target), mapped(update.value)});
  for (const GraphOutput& output : from_.outputs) to_->outputs.push_back({output.name, mapped(output.value)});
  return std::move(to_);
}

}  // namespace wholestep
