// Differentiation. Both sources of recorded ops, the tape and the graph, are turned into the same list first.
#include "wholestep/graph/grad.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <ranges>
#include <set>
#include <unordered_set>

#include "wholestep/graph/graph.h"
#include "wholestep/graph/widen.h"

namespace wholestep {
namespace {

std::atomic<int64_t> taped{0};  // nodes, of all threads: a tape may cross from one to another

/// What makes two handles the same value: the graph value, the taped output, or being copies of one leaf.
/// (Not its storage: a detached tensor has the same.)
using Key = std::pair<const void*, int>;

Key key_of(const Tensor& t) {
  const Tensor::Impl& impl = *t.impl();
  if (impl.graph) return {impl.graph.get(), impl.value};
  if (impl.producer) return {impl.producer.get(), impl.producer_output};
  return {&impl, -1};
}

struct Recorded {
  const OpDef* op;
  const Attrs* attrs;
  std::vector<Tensor> inputs, outputs;
  std::string scope;
};

[[noreturn]] void throw_overwritten(const TapeNode& node, const std::string& which) {
  throw Error(ErrorCode::kUsage, {.what = "a value needed for the gradient was overwritten in place",
                                  .where = fmt::format("{}{}{} of {}", node.scope,
                                                       node.scope.empty() ? "" : ": ", which, node.op->name),
                                  .hint = "assign() after backward(), or clone() first"});
}

std::vector<Recorded> recorded_on_tape(std::span<const Tensor> outputs, int64_t since) {
  std::vector<std::shared_ptr<TapeNode>> nodes, stack;
  std::unordered_set<const TapeNode*> seen;
  auto push = [&](const Tensor& t) {
    if (t.impl()->producer && t.impl()->producer->sequence >= since &&
        seen.insert(t.impl()->producer.get()).second)
      stack.push_back(t.impl()->producer);
  };
  for (const Tensor& output : outputs) push(output);
  while (!stack.empty()) {
    std::shared_ptr<TapeNode> node = stack.back();
    stack.pop_back();
    nodes.push_back(node);
    for (const Tensor& input : node->inputs) push(input);
  }
  std::ranges::sort(nodes, {}, [](const auto& node) { return node->sequence; });
  std::vector<Recorded> list;
  for (const auto& node : nodes) {
    for (size_t i = 0; i < node->inputs.size(); ++i)
      if (node->inputs[i].impl()->storage->version != node->input_versions[i])
        throw_overwritten(*node, fmt::format("operand {}", i));
    for (size_t i = 0; i < node->outputs.size(); ++i)
      if (node->outputs[i].storage->version != 0) throw_overwritten(*node, fmt::format("result {}", i));
    Recorded recorded{node->op.get(), &node->attrs, node->inputs, {}, node->scope};
    for (size_t i = 0; i < node->outputs.size(); ++i)
      recorded.outputs.push_back(
          Tensor(std::make_shared<Tensor::Impl>(Tensor::Impl{.type = node->outputs[i].type,
                                                             .storage = node->outputs[i].storage,
                                                             .name = {},
                                                             .producer = node,
                                                             .producer_output = static_cast<int>(i)})));
    list.push_back(std::move(recorded));
  }
  return list;
}

/// Everything recorded so far outside NoGrad; copied, since adding gradient nodes moves the graph's own
/// vectors.
std::vector<Recorded> recorded_in_graph(Graph& graph, std::vector<Attrs>& attrs) {
  std::vector<Recorded> list;
  attrs.reserve(graph.nodes.size());
  for (const Node& node : graph.nodes) {
    if (!node.differentiable) continue;
    attrs.push_back(node.attrs);
    Recorded recorded{node.op, &attrs.back(), {}, {}, node.scope};
    for (int value : node.inputs) recorded.inputs.push_back(graph.tensor(value));
    for (int value : node.outputs) recorded.outputs.push_back(graph.tensor(value));
    list.push_back(std::move(recorded));
  }
  return list;
}

/// A tensor like `like` full of one number; in a trace a node, so that passes can fold it.
Tensor filled_like(const Tensor& like, double value) {
  const Attrs attrs = full_attrs(value, like.type());
  if (!like.symbolic()) return apply_on(device_of(like), find_op("full"), attrs)[0];
  Graph& graph = *like.impl()->graph;
  return graph.tensor(graph.add_node(find_op("full"), attrs, {}, {like.type()})[0]);
}

/// In a trace `assign()` gives a parameter a new value, and its gradient is taken of that one. kUsage where
/// `outputs` were computed from the old one, whose gradient would silently be left out.
void check_not_assigned(const Graph& graph, std::span<const Tensor> outputs,
                        const std::vector<Recorded>& list, std::span<const Tensor> inputs,
                        const std::vector<Tensor>& wanted) {
  std::map<Key, const Tensor*> old_values;
  for (const Update& update : graph.updates)
    for (const Tensor& t : inputs)
      if (!t.symbolic() && graph.find_input(update.target)->binding.impl()->storage == t.impl()->storage)
        old_values[{&graph, update.target}] = &t;
  if (old_values.empty()) return;
  // What the outputs were computed from, as far as the wanted values.
  std::set<Key> read, stop;
  for (const Tensor& t : outputs) read.insert(key_of(t));
  for (const Tensor& t : wanted) stop.insert(key_of(t));
  auto passes = [&](const Tensor& t) { return read.contains(key_of(t)) && !stop.contains(key_of(t)); };
  for (const Recorded& r : list | std::views::reverse) {
    if (!std::ranges::any_of(r.outputs, passes)) continue;
    for (const Tensor& t : r.inputs) {
      if (auto old = old_values.find(key_of(t)); old != old_values.end())
        throw Error(ErrorCode::kUsage,
                    {.what = "a gradient was asked for after its parameter had been assigned",
                     .where = old->second->name(),
                     .got = fmt::format("a loss computed by {} from the value before", r.op->name),
                     .expected = "a loss computed from the value assigned",
                     .hint = "take grad() first, then assign() or let the optimizer step"});
      read.insert(key_of(t));
    }
  }
}

std::vector<Tensor> checked_seeds(std::span<const Tensor> outputs, std::span<const Tensor> given) {
  if (!given.empty() && given.size() != outputs.size())
    throw Error(ErrorCode::kUsage, {.what = "one gradient is needed for each output",
                                    .got = std::to_string(given.size()),
                                    .expected = std::to_string(outputs.size())});
  std::vector<Tensor> seeds(given.begin(), given.end());
  seeds.resize(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!is_floating(outputs[i].dtype()) || (!seeds[i].defined() && outputs[i].numel() != 1))
      throw Error(ErrorCode::kUsage,
                  {.what = "a gradient is taken of one floating-point number",
                   .got = to_string(outputs[i].type()),
                   .hint = "reduce it first: sum() or mean(), or say the gradient of every element"});
    if (seeds[i].defined() && seeds[i].type() != outputs[i].type())
      throw Error(ErrorCode::kUsage, {.what = "the gradient of an output has its dtype and shape",
                                      .got = to_string(seeds[i].type()),
                                      .expected = to_string(outputs[i].type())});
  }
  return seeds;
}

/// The op's rule, in f32 where its operands or results are f16 or bf16, so that each gradient is rounded
/// once.
std::vector<Tensor> input_grads_of(const OpRecord& record, const std::vector<Tensor>& output_grads) {
  auto half = [](const Tensor& t) { return is_half(t.dtype()); };
  bool halves = std::ranges::any_of(record.inputs, half) || std::ranges::any_of(record.outputs, half);
  if (record.op.takes_half || !halves) return record.op.vjp(record, output_grads);
  OpRecord wide{record.op, record.attrs, widened(record.inputs), widened(record.outputs), record.needs_grad};
  std::vector<Tensor> wide_grads = widened(output_grads), grads = record.op.vjp(wide, wide_grads);
  for (size_t i = 0; i < grads.size(); ++i) {
    if (!grads[i].defined() || !record.needs_grad[i]) continue;
    auto passed_on = std::ranges::find(wide_grads, grads[i].impl(), &Tensor::impl);
    grads[i] = passed_on == wide_grads.end()
                   ? grads[i].to(record.inputs[i].dtype())
                   : output_grads[static_cast<size_t>(passed_on - wide_grads.begin())];
  }
  return grads;
}

}  // namespace

TapeNode::~TapeNode() {
  // A long chain would otherwise be destroyed by as deep a recursion.
  std::vector<Tensor> pending = std::move(inputs);
  while (!pending.empty()) {
    Tensor t = std::move(pending.back());
    pending.pop_back();
    if (!t.defined() || t.impl().use_count() != 1 || !t.impl()->producer ||
        t.impl()->producer.use_count() != 1)
      continue;
    for (Tensor& input : t.impl()->producer->inputs) pending.push_back(std::move(input));
    t.impl()->producer->inputs.clear();
  }
}

int64_t tape_position() { return taped; }

void tape(std::shared_ptr<const OpDef> op, const std::vector<Tensor>& inputs, const Attrs& attrs,
          std::vector<Tensor>& outputs) {
  auto node = std::make_shared<TapeNode>();
  node->op = std::move(op);
  node->attrs = attrs;
  node->inputs = inputs;
  node->sequence = taped++;
  node->scope = Scope::path();
  for (const Tensor& input : inputs) node->input_versions.push_back(input.impl()->storage->version);
  for (size_t i = 0; i < outputs.size(); ++i) {
    node->outputs.push_back({outputs[i].type(), outputs[i].impl()->storage});
    if (!is_floating(outputs[i].dtype())) continue;
    outputs[i].impl()->producer = node;
    outputs[i].impl()->producer_output = static_cast<int>(i);
  }
}

std::vector<Tensor> grad(const Tensor& output, std::span<const Tensor> inputs, bool create_graph) {
  return grad(std::span(&output, 1), inputs, {}, create_graph);
}

std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                         std::span<const Tensor> output_grads, bool create_graph) {
  return grad_since(0, outputs, inputs, output_grads, create_graph);
}

std::vector<Tensor> grad_since(int64_t since, std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                               std::span<const Tensor> given, bool create_graph) {
  std::vector<Tensor> seeds = checked_seeds(outputs, given);
  std::unique_ptr<NoGrad> no_grad = create_graph ? nullptr : std::make_unique<NoGrad>();
  std::vector<Attrs> attrs;
  Graph* graph = outputs.empty() ? nullptr : outputs[0].impl()->graph.get();
  std::vector<Recorded> list = graph ? recorded_in_graph(*graph, attrs) : recorded_on_tape(outputs, since);

  std::vector<Tensor> wanted(inputs.begin(), inputs.end());
  if (graph)
    for (Tensor& t : wanted)
      if (!t.symbolic()) t = graph->tensor(graph->value_of(t));
  if (graph) check_not_assigned(*graph, outputs, list, inputs, wanted);

  // Forward: what depends on a wanted input. Backward: gradients of that, last op first.
  std::map<Key, Tensor> grads;
  std::map<Key, bool> depends;
  for (const Tensor& t : wanted) depends[key_of(t)] = true;
  for (const Recorded& recorded : list) {
    bool any =
        std::ranges::any_of(recorded.inputs, [&](const Tensor& t) { return depends.contains(key_of(t)); });
    for (const Tensor& t : recorded.outputs)
      if (any && is_floating(t.dtype())) depends[key_of(t)] = true;
  }
  auto add_to = [](Tensor& total, const Tensor& more) {
    total = total.defined() ? apply1(find_op("add"), {total, more}) : more;
  };
  for (size_t i = 0; i < outputs.size(); ++i)
    add_to(grads[key_of(outputs[i])], seeds[i].defined() ? seeds[i] : filled_like(outputs[i], 1));

  for (auto it = list.rbegin(); it != list.rend(); ++it) {
    Recorded& r = *it;
    std::vector<Tensor> output_grads;
    bool reached = false, needed = false;
    for (const Tensor& t : r.outputs) {
      auto found = grads.find(key_of(t));
      output_grads.push_back(found == grads.end() ? Tensor() : found->second);
      reached |= found != grads.end();
    }
    OpRecord record{*r.op, *r.attrs, r.inputs, r.outputs, {}};
    for (const Tensor& t : r.inputs) {
      record.needs_grad.push_back(depends.contains(key_of(t)) && is_floating(t.dtype()));
      needed |= record.needs_grad.back();
    }
    if (!reached || !needed) continue;
    if (!r.op->vjp)
      throw Error(ErrorCode::kUsage, {.what = fmt::format("{} has no gradient rule", r.op->name),
                                      .where = r.scope,
                                      .hint = "detach() its input if no gradient should pass here"});
    Scope scope(r.scope.empty() || !Scope::path().empty() ? "" : r.scope, "");
    std::vector<Tensor> input_grads = input_grads_of(record, output_grads);
    for (size_t i = 0; i < input_grads.size(); ++i) {
      if (!input_grads[i].defined() || !record.needs_grad[i]) continue;
      if (input_grads[i].type() != r.inputs[i].type())
        throw Error(ErrorCode::kFailure,
                    {.what = fmt::format("the gradient rule of {} gives a wrong type", r.op->name),
                     .where = fmt::format("operand {}", i),
                     .got = to_string(input_grads[i].type()),
                     .expected = to_string(r.inputs[i].type())});
      add_to(grads[key_of(r.inputs[i])], input_grads[i]);
    }
  }
  std::vector<Tensor> result;
  for (const Tensor& t : wanted) {
    auto found = grads.find(key_of(t));
    result.push_back(found == grads.end() ? filled_like(t, 0) : found->second);
  }
  return result;
}

}  // namespace wholestep
