// Order of execution: turn by turn, and within one the longest remaining path first, so the chain of input
// gradients runs through the layers while the weight gradients, which only the update waits for, gather
// behind it and run side by side. Updates of parameters and state come after everything that still reads the
// old value. A half is widened right before the one node that reads it in f32, and rounded as soon as it is
// made.
#include <algorithm>
#include <set>

#include "wholestep/compile/passes.h"

namespace wholestep {
namespace {

bool depends_on(const Graph& graph, int node, int ancestor) {
  std::vector<int> stack = {node};
  std::set<int> seen;
  while (!stack.empty()) {
    int at = stack.back();
    stack.pop_back();
    if (at == ancestor) return true;
    if (at < ancestor || !seen.insert(at).second) continue;
    for (int value : graph.node(at).inputs)
      if (int producer = graph.values[static_cast<size_t>(value)].node; producer >= 0)
        stack.push_back(producer);
  }
  return false;
}

/// The nodes that read the memory of a value: its users, and those of the reshapes that lie over it.
std::vector<int> readers_of(const Graph& graph, int value, const std::vector<std::vector<int>>& users) {
  std::vector<int> readers = users[static_cast<size_t>(value)];
  for (int user : users[static_cast<size_t>(value)])
    if (graph.node(user).op->name == "reshape") {
      std::vector<int> more = readers_of(graph, graph.node(user).outputs[0], users);
      readers.insert(readers.end(), more.begin(), more.end());
    }
  return readers;
}

/// Whether the node that makes `value` can write it where `target` lies: it must be element-wise, make only
/// this update of it, and no reader of the old value may depend on it.
bool writes_in_place(const Graph& graph, const Update& update, const std::vector<std::vector<int>>& users) {
  int producer = graph.values[static_cast<size_t>(update.value)].node;
  if (producer < 0) return false;
  const OpDef& op = *graph.node(producer).op;
  if (!op.elementwise && op.name != "fused" && op.name != "matmul_fused") return false;
  int updates_of_value = 0;
  for (const Update& other : graph.updates) updates_of_value += other.value == update.value;
  if (updates_of_value > 1) return false;
  for (int reader : readers_of(graph, update.target, users))
    if (reader != producer && depends_on(graph, reader, producer)) return false;
  return true;
}

/// The same graph where every update can be written in place, with copies where it could not.
GraphPtr with_copies(const Graph& graph) {
  auto users = graph.users();
  Rewriter rewriter(graph);
  for (const Node& node : graph.nodes) rewriter.copy(node);
  std::vector<int> copies(graph.updates.size(), -1);
  for (size_t i = 0; i < graph.updates.size(); ++i) {
    const Update& update = graph.updates[i];
    if (update.value == update.target || writes_in_place(graph, update, users)) continue;
    Node like{.op = nullptr,
              .attrs = {},
              .inputs = {},
              .outputs = {},
              .scope = graph.find_input(update.target)->name,
              .source = {},
              .turn = graph.turn};
    copies[i] = rewriter.add(find_op("stop_gradient"), {}, {rewriter.mapped(update.value)},
                             {graph.type(update.value)}, like)[0];
  }
  GraphPtr result = rewriter.finish();
  for (size_t i = 0; i < copies.size(); ++i)
    if (copies[i] >= 0) result->updates[i].value = copies[i];
  std::erase_if(result->updates, [](const Update& update) { return update.value == update.target; });
  return result;
}

}  // namespace

GraphPtr schedule(const Graph& original) {
  GraphPtr graph = with_copies(original);
  size_t n = graph->nodes.size();
  auto users = graph->users();
  std::vector<std::set<int>> next(n);
  std::vector<int> waiting(n);
  auto edge = [&](int before, int after) {
    if (before != after && next[static_cast<size_t>(before)].insert(after).second)
      ++waiting[static_cast<size_t>(after)];
  };
  for (size_t i = 0; i < n; ++i)
    for (int value : graph->nodes[i].inputs)
      if (int producer = graph->values[static_cast<size_t>(value)].node; producer >= 0)
        edge(producer, static_cast<int>(i));
  /// Where a widened half goes: before the one node that reads it. -1: this is none.
  auto reader_of = [&](int node) {
    const Node& cast = graph->node(node);
    if (!is_widening(*graph, cast)) return -1;
    const std::vector<int>& readers = users[static_cast<size_t>(cast.outputs[0])];
    return readers.size() == 1 ? readers[0] : -1;
  };
  for (const Update& update : graph->updates)
    for (int reader : readers_of(*graph, update.target, users)) {
      int updater = graph->values[static_cast<size_t>(update.value)].node;
      edge(reader, updater);
      if (int of_widened = reader_of(reader); of_widened >= 0) edge(of_widened, updater);
    }

  std::vector<int> height(n, -1);
  auto height_of = [&](auto&& self, int node) -> int {
    int& h = height[static_cast<size_t>(node)];
    if (h < 0) {
      h = 0;
      for (int user : next[static_cast<size_t>(node)]) h = std::max(h, 1 + self(self, user));
    }
    return h;
  };
  auto order = [&](int a, int b) {
    int64_t first = graph->node(a).turn, second = graph->node(b).turn;
    if (first != second) return first < second;
    int x = height_of(height_of, a), y = height_of(height_of, b);
    return x != y ? x > y : a < b;
  };
  std::set<int, decltype(order)> ready(order);
  std::vector<std::vector<int>> just_before(n);
  Rewriter rewriter(*graph);
  size_t done = 0;
  auto copy = [&](int node) { rewriter.copy(graph->node(node)), ++done; };
  auto place = [&](int node) {
    std::ranges::for_each(just_before[static_cast<size_t>(node)], copy);
    copy(node);
  };
  auto wait_no_longer = [&](auto&& self, int node) -> void {
    const bool rounds =
        graph->node(node).op->name == "cast" && is_half(graph->type(graph->node(node).outputs[0]).dtype);
    if (int reader = reader_of(node); reader >= 0) just_before[static_cast<size_t>(reader)].push_back(node);
    else if (rounds) place(node);
    else return void(ready.insert(node));
    for (int user : next[static_cast<size_t>(node)])
      if (--waiting[static_cast<size_t>(user)] == 0) self(self, user);
  };
  std::vector<int> first;
  for (size_t i = 0; i < n; ++i)
    if (waiting[i] == 0) first.push_back(static_cast<int>(i));
  for (int node : first) wait_no_longer(wait_no_longer, node);
  while (!ready.empty()) {
    int node = *ready.begin();
    ready.erase(ready.begin());
    place(node);
    for (int user : next[static_cast<size_t>(node)])
      if (--waiting[static_cast<size_t>(user)] == 0) wait_no_longer(wait_no_longer, user);
  }
  WHOLESTEP_CHECK(done == n);
  return rewriter.finish();
}

}  // namespace wholestep
