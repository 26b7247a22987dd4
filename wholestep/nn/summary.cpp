// Summaries: one trace with a hook that hears of every layer, then the ops counted by their scope.
#include "wholestep/nn/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "wholestep/graph/graph.h"

namespace wholestep::nn {
namespace {

/// "layers.3" of "layers.3.weight", "" of "weight".
std::string owner_of(const std::string& parameter) {
  size_t dot = parameter.rfind('.');
  return dot == std::string::npos ? "" : parameter.substr(0, dot);
}

std::string with_separators(int64_t number) {
  std::string digits = std::to_string(number);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string in_thousands(double number) {
  for (const char* unit : {"", " k", " M", " G"}) {
    if (number < 999.5) return fmt::format("{:.{}f}{}", number, *unit && number < 99.95 ? 1 : 0, unit);
    number /= 1000;
  }
  return fmt::format("{:.0f} T", number);
}

}  // namespace

Summary summarize(Module& module, const TensorType& batch) {
  std::map<std::string, int64_t> own_parameters;
  Summary summary;
  for (const auto& [name, tensor] : module.named_parameters()) {
    own_parameters[owner_of(name)] += tensor.numel();
    summary.parameters += tensor.numel();
    summary.parameter_bytes += tensor.type().bytes();
  }

  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  bool was_training = module.training();
  module.eval();
  {
    ForwardHook hook([&](Module& layer, const Tensor&, const Tensor& y) {
      summary.rows.push_back({.path = Scope::path(),
                              .description = layer.description(),
                              .output = y.shape(),
                              .parameters = own_parameters[Scope::path()]});
    });
    module(graph->add_input(InputKind::kBatch, "x", batch));
  }
  module.train(was_training);

  std::map<std::string, double> own_flops;
  for (const Node& node : graph->nodes) {
    std::vector<TensorType> inputs = graph->input_types(node), outputs = graph->output_types(node);
    double cost = flops(*node.op, {node.op->name, inputs, outputs, node.attrs});
    own_flops[node.scope] += cost;
    summary.flops += cost;
  }
  // A container's call ends right after the last call inside it.
  auto contains = [](const std::string& outer, const std::string& inner) {
    return outer.empty() ? !inner.empty() : inner.starts_with(outer + ".");
  };
  std::vector<SummaryRow> rows;
  for (SummaryRow& row : summary.rows) {
    row.flops = own_flops.contains(row.path) ? own_flops[row.path] : 0;
    bool container = !rows.empty() && contains(row.path, rows.back().path);
    if (!container || own_flops.contains(row.path)) rows.push_back(std::move(row));
  }
  summary.rows = std::move(rows);
  return summary;
}

std::string to_string(const Summary& summary) {
  std::vector<std::array<std::string, 5>> cells = {{"path", "layer", "output", "parameters", "FLOPs"}};
  for (const SummaryRow& row : summary.rows)
    cells.push_back({row.path, row.description, to_string(row.output),
                     row.parameters ? with_separators(row.parameters) : "", in_thousands(row.flops)});
  cells.push_back({"total", "", "", with_separators(summary.parameters), in_thousands(summary.flops)});
  std::array<size_t, 5> widths{};
  for (const auto& row : cells)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  auto rule = [&] {
    for (size_t width : widths) text += std::string(width, '-') + "  ";
    text.replace(text.size() - 2, 2, "\n");
  };
  for (size_t r = 0; r < cells.size(); ++r) {
    if (r == 1 || r + 1 == cells.size()) rule();
    text += fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>{}}  {:>{}}\n", cells[r][0], widths[0], cells[r][1],
                        widths[1], cells[r][2], widths[2], cells[r][3], widths[3], cells[r][4], widths[4]);
  }
  return text + fmt::format("parameters: {} bytes\n", with_separators(summary.parameter_bytes));
}

}  // namespace wholestep::nn
