// Rows out of nodes and kernels, then text and JSON out of rows.
#include "wholestep/compile/plan_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "wholestep/base/human.h"
#include "wholestep/ops/elementwise_program.h"

namespace wholestep {
namespace {

using nlohmann::json;

std::vector<std::string> fused_ops(const Node& node) {
  std::vector<std::string> ops;
  if (node.attrs.has("program"))
    for (const auto& instruction : parse_elementwise_program(node.attrs.text("program")).instructions)
      ops.emplace_back(name(instruction.code));
  if (std::string activation = node.attrs.text_or("activation", ""); !activation.empty())
    ops.push_back(activation);
  return ops;
}

struct Column {
  std::string heading;
  std::vector<std::string> cells = {};
  size_t width() const {
    size_t widest = heading.size();
    for (const std::string& cell : cells) widest = std::max(widest, cell.size());
    return widest;
  }
};

std::string aligned(const std::vector<Column>& columns) {
  std::string text;
  auto line = [&](auto cell_of) {
    std::string row;
    for (const Column& column : columns) row += fmt::format("  {:<{}}", cell_of(column), column.width());
    text += row.substr(0, row.find_last_not_of(' ') + 1) + '\n';
  };
  line([](const Column& column) { return column.heading; });
  for (size_t i = 0; i < columns[0].cells.size(); ++i)
    line([&](const Column& column) { return column.cells[i]; });
  return text;
}

}  // namespace

std::vector<PlanRow> plan_rows(const Plan& plan) {
  std::vector<PlanRow> rows;
  for (const SelectedKernel& selected : plan.kernels) {
    const Node& node = plan.graph->node(selected.node);
    if (node.op->name == "reshape") continue;
    PlanRow row{.layer = node.scope,
                .op = node.op->name,
                .kernel = selected.name,
                .output = {},
                .fused = fused_ops(node),
                .refusals = selected.refusals,
                .workspace_bytes = selected.kernel->workspace_bytes};
    for (int value : node.outputs)
      row.output += (row.output.empty() ? "" : ", ") + to_string(plan.graph->type(value));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<MemoryKind> memory_kinds(const MemoryReport& memory) {
  std::vector<MemoryKind> kinds = {
      {"parameters", "weights, biases, running statistics", memory.parameter_bytes},
      {"state", "moments, counters, rates", memory.state_bytes},
      {"constants", "samples kept in memory, tables", memory.constant_bytes},
      {"batch", "slots the next batch is copied into", memory.batch_bytes},
      {"activations", "values and workspaces of the step, after reuse", memory.activation_bytes}};
  if (memory.feed_bytes > 0)
    kinds.insert(kinds.end() - 1, {"feed", "batches that come up while a step runs", memory.feed_bytes});
  return kinds;
}

std::string to_text(const Plan& plan) {
  const MemoryReport& memory = plan.memory;
  std::vector<PlanRow> rows = plan_rows(plan);
  std::string text = "memory\n";
  for (const MemoryKind& kind : memory_kinds(memory))
    text += fmt::format("  {:<12}{:>16} B  {:>10}  {}\n", kind.name, human_count(kind.bytes),
                        human_bytes(kind.bytes), kind.doc);
  text += fmt::format("  {:<12}{:>16} B  {:>10}\n", "total", human_count(memory.total_bytes()),
                      human_bytes(memory.total_bytes()));
  text += fmt::format("  activations without reuse: {}; at least, for this order: {}\n",
                      human_bytes(memory.unshared_bytes), human_bytes(memory.bound_bytes));

  std::vector<Column> kernels = {{"layer"}, {"op"}, {"kernel"}, {"output"}, {"fused with it"}};
  for (const PlanRow& row : rows) {
    std::string fused = fmt::format("{}", fmt::join(row.fused, " "));
    if (fused.size() > 60) fused = fmt::format("{}... {} ops", fused.substr(0, 48), row.fused.size());
    std::vector<std::string> cells = {row.layer.empty() ? "-" : row.layer, row.op, row.kernel, row.output,
                                      fused};
    for (size_t i = 0; i < cells.size(); ++i) kernels[i].cells.push_back(cells[i]);
  }
  text += fmt::format("\nkernels, {} in order of execution, planned in {}\n", rows.size(),
                      human_seconds(plan.seconds));
  text += aligned(kernels);

  std::string refusals;
  for (const PlanRow& row : rows)
    if (!row.refusals.empty())
      refusals += fmt::format("  {} {}: {}\n", row.layer.empty() ? "-" : row.layer, row.op,
                              fmt::join(row.refusals, "; "));
  if (!refusals.empty()) text += "\nrefusals: faster kernels that were not taken\n" + refusals;
  return text;
}

json to_json(const Plan& plan) {
  json memory = json::object();
  for (const MemoryKind& kind : memory_kinds(plan.memory)) memory[kind.name + "_bytes"] = kind.bytes;
  memory["arena_bytes"] = plan.memory.arena_bytes();
  memory["total_bytes"] = plan.memory.total_bytes();
  memory["activations_without_reuse_bytes"] = plan.memory.unshared_bytes;
  memory["bound_bytes"] = plan.memory.bound_bytes;
  json kernels = json::array();
  for (const PlanRow& row : plan_rows(plan))
    kernels.push_back({{"layer", row.layer},
                       {"op", row.op},
                       {"kernel", row.kernel},
                       {"output", row.output},
                       {"fused", row.fused},
                       {"refusals", row.refusals},
                       {"workspace_bytes", row.workspace_bytes}});
  return {{"memory", std::move(memory)}, {"kernels", std::move(kernels)}, {"plan_seconds", plan.seconds}};
}

}  // namespace wholestep
