// A graph as text, as Graphviz, and checked.
#include <fmt/format.h>

#include "wholestep/graph/graph.h"

namespace wholestep {
namespace {

std::string operands(const std::vector<int>& values) {
  std::string text;
  for (int value : values) text += (text.empty() ? "%" : ", %") + std::to_string(value);
  return text;
}

}  // namespace

std::string to_string(const Graph& graph) {
  std::string text;
  for (const GraphInput& input : graph.inputs)
    text += fmt::format("%{} = {} \"{}\" : {}\n", input.value, name(input.kind), input.name,
                        to_string(graph.type(input.value)));
  for (const Node& node : graph.nodes) {
    std::string types;
    for (int value : node.outputs) types += (types.empty() ? "" : ", ") + to_string(graph.type(value));
    text += fmt::format("{} = {}({}){} : {}", operands(node.outputs), node.op->name, operands(node.inputs),
                        to_string(node.attrs), types);
    if (!node.scope.empty()) text += "  # " + node.scope;
    text += '\n';
  }
  for (const Update& update : graph.updates)
    text += fmt::format("update \"{}\" = %{}\n", graph.find_input(update.target)->name, update.value);
  for (const GraphOutput& output : graph.outputs)
    text += fmt::format("output \"{}\" = %{}\n", output.name, output.value);
  return text;
}

std::string to_dot(const Graph& graph) {
  auto escaped = [](std::string text) {
    for (size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
    return text;
  };
  std::string text = "digraph step {\n  node [shape=box, fontname=\"sans-serif\", fontsize=10];\n";
  for (const GraphInput& input : graph.inputs)
    text += fmt::format("  v{} [label=\"{}\\n{}\", style=filled, fillcolor=\"{}\"];\n", input.value,
                        escaped(input.name), to_string(graph.type(input.value)),
                        input.kind == InputKind::kBatch ? "#dbeafe" : "#fef3c7");
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    text += fmt::format("  n{} [label=\"{}\\n{}\"];\n", i,
                        escaped(node.op->name + " " + to_string(node.attrs)), escaped(node.scope));
    for (int value : node.inputs) {
      int producer = graph.values[static_cast<size_t>(value)].node;
      text += fmt::format("  {}{} -> n{} [label=\"{}\", fontsize=8];\n", producer < 0 ? 'v' : 'n',
                          producer < 0 ? value : producer, i, to_string(graph.type(value)));
    }
  }
  auto end = [&](int value, const std::string& label, const char* colour) {
    int producer = graph.values[static_cast<size_t>(value)].node;
    text += fmt::format("  \"{0}\" [style=filled, fillcolor=\"{1}\"];\n  {2}{3} -> \"{0}\";\n",
                        escaped(label), colour, producer < 0 ? 'v' : 'n', producer < 0 ? value : producer);
  };
  for (const Update& update : graph.updates)
    end(update.value, "update " + graph.find_input(update.target)->name, "#fde68a");
  for (const GraphOutput& output : graph.outputs) end(output.value, "output " + output.name, "#bbf7d0");
  return text + "}\n";
}

void verify(const Graph& graph) {
  std::vector<bool> made(graph.values.size());
  auto exists = [&](int value) { return value >= 0 && static_cast<size_t>(value) < made.size(); };
  auto is_made = [&](int value) { return exists(value) && made[static_cast<size_t>(value)]; };
  auto fail = [](const std::string& what, const std::string& where) {
    throw Error(ErrorCode::kFailure, {.what = "the graph does not verify: " + what, .where = where});
  };
  for (const GraphInput& input : graph.inputs) {
    if (!exists(input.value) || is_made(input.value)) fail("an input has no value of its own", input.name);
    made[static_cast<size_t>(input.value)] = true;
  }
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    auto broken = [&](const std::string& what) { fail(what, fmt::format("node {}, {}", i, node.op->name)); };
    for (int value : node.inputs)
      if (!is_made(value)) broken(fmt::format("%{} is read before it is made", value));
    for (int value : node.outputs) {
      if (!exists(value)) broken(fmt::format("there is no %{}", value));
      if (is_made(value)) broken(fmt::format("%{} is made twice", value));
      if (graph.values[static_cast<size_t>(value)].node != static_cast<int>(i))
        broken(fmt::format("%{} names another maker", value));
      made[static_cast<size_t>(value)] = true;
    }
    if (infer_types(*node.op, graph.input_types(node), node.attrs) != graph.output_types(node))
      broken("the types of its results are not what the op infers");
  }
  for (const Update& update : graph.updates) {
    const GraphInput* target = graph.find_input(update.target);
    if (!target || (target->kind != InputKind::kParameter && target->kind != InputKind::kState))
      fail("an update writes neither a parameter nor a state", fmt::format("%{}", update.target));
    if (!is_made(update.value) || graph.type(update.target) != graph.type(update.value))
      fail("an update has another type or no value", target->name);
  }
  for (const GraphOutput& output : graph.outputs)
    if (!is_made(output.value)) fail("an output is never made", output.name);
}

}  // namespace wholestep
