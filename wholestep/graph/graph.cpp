// Building a graph while tracing.
#include "wholestep/graph/graph.h"

#include <fmt/format.h>

namespace wholestep {
namespace {
thread_local std::shared_ptr<Graph> tracing;
}

std::string_view name(InputKind kind) {
  switch (kind) {
    case InputKind::kBatch: return "batch";
    case InputKind::kParameter: return "parameter";
    case InputKind::kState: return "state";
    case InputKind::kConstant: break;
  }
  return "constant";
}

Trace::Trace(std::shared_ptr<Graph> graph) : before_(std::move(tracing)) { tracing = std::move(graph); }
Trace::~Trace() { tracing = std::move(before_); }
Graph* Trace::current() { return tracing.get(); }

Tensor Graph::tensor(int value) {
  return Tensor(std::make_shared<Tensor::Impl>(
      Tensor::Impl{.type = type(value), .name = {}, .graph = shared_from_this(), .value = value}));
}

Tensor Graph::add_input(InputKind kind, std::string name, const TensorType& type, Tensor binding) {
  int value = static_cast<int>(values.size());
  values.push_back({.type = type});
  inputs.push_back({value, kind, std::move(name), std::move(binding)});
  return tensor(value);
}

void Graph::add_output(std::string name, const Tensor& tensor) {
  outputs.push_back({std::move(name), value_of(tensor)});
}

std::vector<int> Graph::add_node(const OpDef& op, Attrs attrs, std::vector<int> node_inputs,
                                 const Types& output_types) {
  int index = static_cast<int>(nodes.size());
  std::vector<int> made;
  for (const TensorType& type : output_types) {
    values.push_back({.type = type, .node = index, .output = static_cast<int>(made.size())});
    made.push_back(static_cast<int>(values.size()) - 1);
  }
  nodes.push_back({&op, std::move(attrs), std::move(node_inputs), made, Scope::path(), Scope::source()});
  nodes.back().turn = turn;
  return made;
}

int Graph::value_of(const Tensor& tensor) {
  if (tensor.symbolic()) {
    if (tensor.impl()->graph.get() != this)
      throw Error(ErrorCode::kUsage, {.what = "a tensor of another trace was used",
                                      .got = to_string(tensor.type()),
                                      .hint = "symbolic tensors live only inside the function being traced"});
    return tensor.impl()->value;
  }
  const Storage* storage = tensor.impl()->storage.get();
  if (auto it = current_.find(storage); it != current_.end()) return it->second;
  if (tensor.role() == TensorRole::kValue && tensor.rank() == 0 &&
      !tensor.requires_grad()) {  // a number in the user's expression
    return add_node(find_op("full"), full_attrs(tensor.item<double>(), tensor.type()), {},
                    {tensor.type()})[0];
  }
  InputKind kind = tensor.role() == TensorRole::kParameter ? InputKind::kParameter
                   : tensor.role() == TensorRole::kState   ? InputKind::kState
                                                           : InputKind::kConstant;
  std::string name = tensor.name().empty() ? fmt::format("constant_{}", inputs.size()) : tensor.name();
  int value = add_input(kind, name, tensor.type(), tensor).impl()->value;
  captured_[storage] = current_[storage] = value;
  return value;
}

void Graph::record_update(const Tensor& target, const Tensor& value) {
  if (target.symbolic() || target.role() == TensorRole::kValue)
    throw Error(ErrorCode::kUsage,
                {.what = "only a parameter or a state can be assigned inside a compiled step",
                 .got = to_string(target.type()),
                 .hint = "give it a role with set_role()"});
  value_of(target);  // captures it
  int new_value = value_of(value);
  const Storage* storage = target.impl()->storage.get();
  int input = captured_.at(storage);
  current_[storage] = new_value;
  for (Update& update : updates)
    if (update.target == input) return void(update.value = new_value);
  updates.push_back({input, new_value});
}

const GraphInput* Graph::find_input(int value) const {
  for (const GraphInput& input : inputs)
    if (input.value == value) return &input;
  return nullptr;
}

std::vector<TensorType> Graph::input_types(const Node& node) const {
  std::vector<TensorType> types;
  for (int value : node.inputs) types.push_back(type(value));
  return types;
}

std::vector<TensorType> Graph::output_types(const Node& node) const {
  std::vector<TensorType> types;
  for (int value : node.outputs) types.push_back(type(value));
  return types;
}

std::vector<std::vector<int>> Graph::users() const {
  std::vector<std::vector<int>> users(values.size());
  for (size_t i = 0; i < nodes.size(); ++i)
    for (int value : nodes[i].inputs) users[static_cast<size_t>(value)].push_back(static_cast<int>(i));
  return users;
}

std::vector<bool> Graph::kept() const {
  std::vector<bool> kept(values.size());
  for (const GraphOutput& output : outputs) kept[static_cast<size_t>(output.value)] = true;
  for (const Update& update : updates) kept[static_cast<size_t>(update.value)] = true;
  return kept;
}

}  // namespace wholestep
