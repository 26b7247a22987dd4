// Removes work that changes no bit of the result: nodes nothing reads, twins, identities, arithmetic on
// constants.
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "wholestep/compile/passes.h"

namespace wholestep {
namespace {

/// Which nodes an output or an update needs.
std::vector<bool> live_nodes(const Graph& graph) {
  std::vector<bool> live(graph.nodes.size());
  std::vector<int> stack;
  auto need = [&](int value) {
    int node = graph.values[static_cast<size_t>(value)].node;
    if (node >= 0 && !live[static_cast<size_t>(node)])
      live[static_cast<size_t>(node)] = true, stack.push_back(node);
  };
  for (const GraphOutput& output : graph.outputs) need(output.value);
  for (const Update& update : graph.updates) need(update.value);
  while (!stack.empty()) {
    int node = stack.back();
    stack.pop_back();
    for (int value : graph.node(node).inputs) need(value);
  }
  return live;
}

const Node* producer(const Graph& graph, int value) {
  int node = graph.values[static_cast<size_t>(value)].node;
  return node < 0 ? nullptr : &graph.node(node);
}

/// The one number a value holds everywhere, if it is made by `full`.
const double* uniform(const Graph& graph, int value) {
  const Node* node = producer(graph, value);
  if (!node || node->op->name != "full") return nullptr;
  for (const Attr& attr : node->attrs.all())
    if (attr.name == "value") return std::get_if<double>(&attr.value);
  return nullptr;
}

/// The number an op gives when all its operands are uniform: computed by the op's own kernel on scalars.
double fold(const OpDef& op, const Attrs& attrs, const std::vector<double>& operands,
            const std::vector<TensorType>& types) {
  std::vector<Tensor> scalars;
  for (size_t i = 0; i < operands.size(); ++i) scalars.push_back(scalar(operands[i], types[i].dtype));
  return apply1(op, scalars, attrs).item<double>();
}

class Simplifier {
 public:
  explicit Simplifier(const Graph& graph) : graph_(graph), rewriter_(graph), readers_(graph.values.size()) {
    for (const Node& node : graph.nodes)
      for (int value : node.inputs) ++readers_[static_cast<size_t>(value)];
  }

  GraphPtr run() {
    std::vector<bool> live = live_nodes(graph_);
    for (size_t i = 0; i < graph_.nodes.size(); ++i)
      if (live[i] && !replace(graph_.nodes[i])) merge_or_copy(graph_.nodes[i]);
    return rewriter_.finish();
  }

 private:
  bool become(const Node& node, int new_value) {
    rewriter_.map(node.outputs[0], new_value);
    return true;
  }

  /// Where a node can be something simpler, maps its result to that.
  bool replace(const Node& node) {
    Graph& g = rewriter_.graph();
    std::vector<int> in = rewriter_.mapped(node.inputs);
    const TensorType type = graph_.type(node.outputs[0]);
    const std::string& op = node.op->name;
    if (op == "stop_gradient") return become(node, in[0]);
    if (op == "reshape" || op == "expand") {
      if (g.type(in[0]) == type) return become(node, in[0]);
      if (const double* value = uniform(g, in[0])) return become(node, make_full(*value, type, node));
      if (const Node* before = producer(g, in[0]);
          op == "reshape" && before && before->op->name == "reshape") {
        if (g.type(before->inputs[0]) == type) return become(node, before->inputs[0]);
        return become(node, rewriter_.add(*node.op, node.attrs, {before->inputs[0]}, {type}, node)[0]);
      }
    }
    if (std::optional<int> pooled = mask_before_pooling(node, in)) return become(node, *pooled);
    if (!node.op->elementwise || op == "full") return false;
    std::vector<double> numbers;
    for (int value : in)
      if (const double* number = uniform(g, value)) numbers.push_back(*number);
    if (!in.empty() && numbers.size() == in.size())
      return become(node,
                    make_full(fold(*node.op, node.attrs, numbers, graph_.input_types(node)), type, node));
    if (std::optional<std::vector<int>> narrow = without_expand(in, type.shape))
      return become(node, merged(node, *narrow, {type})[0]);
    // x * 1 and x / 1 are x, to the bit.
    auto is_one = [&](int value) {
      const double* number = uniform(g, value);
      return number && *number == 1;
    };
    if ((op == "mul" || op == "div") && is_one(in[1]) && g.type(in[0]) == type) return become(node, in[0]);
    if (op == "mul" && is_one(in[0]) && g.type(in[1]) == type) return become(node, in[1]);
    return false;
  }

  /// The gradient of ReLU behind that of max pooling, where(x > 0, max_pool2d_dx(g), 0): an element that was
  /// chosen is positive where the maximum is, so g, which is smaller, can be masked instead.
  std::optional<int> mask_before_pooling(const Node& node, const std::vector<int>& in) {
    Graph& g = rewriter_.graph();
    if (node.op->name != "where" || readers_[static_cast<size_t>(node.inputs[1])] != 1) return std::nullopt;
    const Node *mask = producer(g, in[0]), *spread = producer(g, in[1]);
    const double* otherwise = uniform(g, in[2]);
    if (!mask || mask->op->name != "greater" || !spread || spread->op->name != "max_pool2d_dx")
      return std::nullopt;
    const double* threshold = uniform(g, mask->inputs[1]);
    const Node* pool = producer(g, spread->inputs[1]);
    if (!threshold || *threshold != 0 || !otherwise || *otherwise != 0 || !pool ||
        pool->op->name != "max_pool2d" || pool->inputs[0] != mask->inputs[0] ||
        g.type(in[1]) != graph_.type(node.outputs[0]))
      return std::nullopt;
    const Node dx = *spread, positive = *mask;  // copies: nodes move as the graph grows
    const int maximum = pool->outputs[0], gradient = dx.inputs[0];
    const Shape& shape = g.type(maximum).shape;
    const int zero = make_full(0, {g.type(maximum).dtype, {}}, node);
    const int chosen = merged(positive, {maximum, zero}, {{DType::boolean, shape}})[0];
    const int masked = merged(node, {chosen, gradient, make_full(0, {g.type(gradient).dtype, {}}, node)},
                              {g.type(gradient)})[0];
    return merged(dx, {masked, dx.inputs[1]}, {graph_.type(node.outputs[0])})[0];
  }

  /// Operands with `expand` undone, where broadcasting gives the same shape without it.
  std::optional<std::vector<int>> without_expand(const std::vector<int>& in, const Shape& shape) {
    const Graph& g = rewriter_.graph();
    std::vector<int> narrow = in;
    for (int& value : narrow) {
      const Node* node = producer(g, value);
      if (!node || node->op->name != "expand") continue;
      int wide = std::exchange(value, node->inputs[0]);
      Shape together;
      for (int operand : narrow) together = broadcast_shapes(together, g.type(operand).shape);
      if (together != shape) value = wide;
    }
    return narrow == in ? std::nullopt : std::optional(narrow);
  }

  int make_full(double value, const TensorType& type, const Node& like) {
    Node node{&find_op("full"), full_attrs(value, type), {}, {}, like.scope, like.source};
    return merged(node, {}, {type})[0];
  }

  /// Outputs of an equal node made before, or of a new one.
  std::vector<int> merged(const Node& node, const std::vector<int>& inputs, const Types& types) {
    auto key = std::make_tuple(node.op, inputs, to_string(node.attrs));
    auto [it, fresh] = seen_.try_emplace(key);
    if (fresh) it->second = rewriter_.add(*node.op, node.attrs, inputs, types, node);
    return it->second;
  }

  void merge_or_copy(const Node& node) {
    std::vector<int> made = merged(node, rewriter_.mapped(node.inputs), graph_.output_types(node));
    for (size_t i = 0; i < made.size(); ++i) rewriter_.map(node.outputs[i], made[i]);
  }

  const Graph& graph_;
  Rewriter rewriter_;
  std::vector<int> readers_;  // of every value of graph_, among its nodes
  std::map<std::tuple<const OpDef*, std::vector<int>, std::string>, std::vector<int>> seen_;
};

}  // namespace

GraphPtr simplify(const Graph& graph) {
  GraphPtr once = Simplifier(graph).run();
  return Simplifier(*once).run();  // what the first sweep uncovered, and the nodes it left without readers
}

}  // namespace wholestep
