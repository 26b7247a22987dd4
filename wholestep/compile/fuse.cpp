// Three fusions that keep every bit. A ReLU, or the mask of its gradient, that alone reads a product or
// convolution becomes its epilogue. A loss and its gradient become one node. Element-wise nodes of one shape
// and compute type that feed each other become one region, run as a program over blocks in cache.
#include <algorithm>
#include <bit>
#include <map>
#include <set>

#include "wholestep/compile/passes.h"
#include "wholestep/graph/widen.h"
#include "wholestep/ops/elementwise_program.h"

namespace wholestep {
namespace {

constexpr size_t kMaxRegionNodes = 48;     // keeps the registers of a region within L1
constexpr size_t kMaxRegionOperands = 64;  // phases mark theirs in the bits of a word

bool is_full(const Node& node) { return node.op->name == "full"; }

// Epilogues
class EpilogueFuser {
 public:
  explicit EpilogueFuser(const Graph& graph)
      : graph_(graph), users_(graph.users()), kept_(graph.kept()), rewriter_(graph) {}

  GraphPtr run() {
    for (const Node& node : graph_.nodes) {
      if (node.op->name == "relu") consider_clip(node);
      else if (node.op->name == "where") consider_mask(node);
      else if (node.op->name == "cross_entropy") consider_loss(node);
    }
    for (const Node& node : graph_.nodes) {
      if (gone_.contains(&node)) continue;
      if (auto clip = clips_.find(&node); clip != clips_.end()) emit_clip(node, *clip->second);
      else if (auto mask = masks_.find(&node); mask != masks_.end()) emit_mask(node, mask->second);
      else if (auto loss = losses_.find(&node); loss != losses_.end()) emit_loss(node, *loss->second);
      else rewriter_.copy(node);
    }
    return rewriter_.finish();
  }

 private:
  /// What a `where` becomes: the product with a mask, and, if there was one between them, a reshape.
  struct Mask {
    const Node *product, *reshape;
    int relu;  ///< the value that is the mask
  };

  const Node* maker(int value) const {
    int node = graph_.values[static_cast<size_t>(value)].node;
    return node < 0 ? nullptr : &graph_.node(node);
  }
  /// Who makes the value, if nobody but one reads it.
  const Node* maker_for_one(int value) const {
    return users_[static_cast<size_t>(value)].size() == 1 && !kept_[static_cast<size_t>(value)] ? maker(value)
                                                                                                : nullptr;
  }
  bool is_zero(int value) const {
    const Node* node = maker(value);
    return node && is_full(*node) && node->attrs.number("value") == 0;
  }

  void consider_clip(const Node& relu) {
    const Node* product = maker_for_one(relu.inputs[0]);
    if (product && (product->op->name == "matmul" || product->op->name == "conv2d") &&
        !product->attrs.has("activation"))
      clips_[&relu] = product, gone_.insert(product);
  }

  /// where(relu > 0, product, 0), as the gradient of a ReLU is written.
  void consider_mask(const Node& where) {
    const Node *above = maker_for_one(where.inputs[0]), *product = maker_for_one(where.inputs[1]),
               *reshape = nullptr;
    if (product && product->op->name == "reshape")
      reshape = product, product = maker_for_one(reshape->inputs[0]);
    if (!above || above->op->name != "greater" || !is_zero(above->inputs[1]) || !is_zero(where.inputs[2]) ||
        !product || (product->op->name != "matmul" && product->op->name != "conv2d_dx") ||
        product->inputs.size() != 2 || product->attrs.has("activation"))
      return;
    const TensorType& type = graph_.type(where.outputs[0]);
    if (graph_.type(above->inputs[0]) != type || graph_.type(where.inputs[1]) != type) return;
    masks_[&where] = {product, reshape, above->inputs[0]};
    gone_.insert({product, reshape, above});
  }

  /// A loss whose gradient, from the same number for every sample, is made of the same exponentials.
  void consider_loss(const Node& loss) {
    for (int user : users_[static_cast<size_t>(loss.inputs[0])]) {
      const Node& dx = graph_.node(user);
      if (dx.op->name != "cross_entropy_dx" || dx.inputs[0] != loss.inputs[0] ||
          dx.inputs[1] != loss.inputs[1] || dx.turn != loss.turn)
        continue;
      const Node* g = maker(dx.inputs[2]);
      if (!g || !is_full(*g)) continue;
      losses_[&loss] = &dx, gone_.insert(&dx);
      return;
    }
  }

  int with_activation(const Node& product, const char* activation, std::vector<int> inputs) {
    Attrs attrs = product.attrs;
    attrs.set({"activation", activation});
    return rewriter_.add(*product.op, attrs, std::move(inputs), graph_.output_types(product), product)[0];
  }

  void emit_clip(const Node& relu, const Node& product) {
    rewriter_.map(relu.outputs[0], with_activation(product, "relu", rewriter_.mapped(product.inputs)));
  }

  void emit_mask(const Node& where, const Mask& mask) {
    std::vector<int> inputs = rewriter_.mapped(mask.product->inputs);
    inputs.push_back(rewriter_.mapped(mask.relu));
    const TensorType& type = graph_.type(mask.product->outputs[0]);
    if (mask.reshape)
      inputs.back() = rewriter_.add(find_op("reshape"),
                                    {{"shape", std::vector<int64_t>(type.shape.begin(), type.shape.end())}},
                                    {inputs.back()}, {type}, where)[0];
    int value = with_activation(*mask.product, "relu_dx", inputs);
    if (mask.reshape)
      value = rewriter_.add(*mask.reshape->op, mask.reshape->attrs, {value}, graph_.output_types(where),
                            *mask.reshape)[0];
    rewriter_.map(where.outputs[0], value);
  }

  void emit_loss(const Node& loss, const Node& dx) {
    const double g = maker(dx.inputs[2])->attrs.number("value");
    std::vector<int> made =
        rewriter_.add(find_op("cross_entropy_with_dx"), {{"g", g}}, rewriter_.mapped(loss.inputs),
                      {graph_.type(loss.outputs[0]), graph_.type(dx.outputs[0])}, loss);
    rewriter_.map(loss.outputs[0], made[0]);
    rewriter_.map(dx.outputs[0], made[1]);
  }

  const Graph& graph_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> kept_;
  Rewriter rewriter_;
  std::map<const Node*, const Node*> losses_;  // gradients, by the loss they are of
  std::map<const Node*, const Node*> clips_;   // products, by the ReLU that clips them
  std::map<const Node*, Mask> masks_;          // by the `where` that applies them
  std::set<const Node*> gone_;                 // part of one of these
};

// Regions
bool is_integer(DType dtype) { return dtype == DType::i32 || dtype == DType::i64; }

/// The type a node computes in, as the CPU and GPU kernels choose it; nullopt where it cannot join a region.
std::optional<DType> compute_type(const Graph& graph, const Node& node) {
  if (!node.op->elementwise || is_full(node)) return std::nullopt;
  auto joins = [](DType dtype) { return is_floating(dtype) || is_integer(dtype); };
  DType out = graph.type(node.outputs[0]).dtype, in = graph.type(node.inputs.back()).dtype;
  if (is_integer(out) && is_floating(in)) return std::nullopt;  // a cast
  if (joins(out)) return widened(out);
  bool compares = node.op->name != "cast" && out == DType::boolean && joins(in);
  return compares ? std::optional(widened(in)) : std::nullopt;
}

class Fuser {
 public:
  explicit Fuser(const Graph& graph) : graph_(graph), users_(graph.users()), kept_(graph.kept()) {
    for (size_t i = 0; i < graph.nodes.size(); ++i)
      groups_.push_back({static_cast<int>(i)}), group_of_.push_back(static_cast<int>(i));
  }

  GraphPtr run() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      // A widened half joins whoever reads it; joined to whoever makes the half, it would have to be stored.
      if (!compute_type(graph_, graph_.nodes[i]) || is_widening(graph_, graph_.nodes[i])) continue;
      for (int value : graph_.nodes[i].inputs) {
        int producer = graph_.values[static_cast<size_t>(value)].node;
        if (producer >= 0) try_merge(group_of_[static_cast<size_t>(producer)], group_of_[i]);
      }
    }
    return emit();
  }

 private:
  int group(int node) const { return group_of_[static_cast<size_t>(node)]; }
  std::vector<int>& members(int g) { return groups_[static_cast<size_t>(g)]; }

  void try_merge(int a, int b) {
    if (a == b) return;
    const Node &x = graph_.node(members(a)[0]), &y = graph_.node(members(b)[0]);
    if (!compute_type(graph_, x) || compute_type(graph_, x) != compute_type(graph_, y)) return;
    if (graph_.type(x.outputs[0]).shape != graph_.type(y.outputs[0]).shape || x.turn != y.turn) return;
    if (members(a).size() + members(b).size() > kMaxRegionNodes || operands(a, b) > kMaxRegionOperands ||
        (is_integer(*compute_type(graph_, x)) && read_outside(a, b)) || path_outside(a, b))
      return;
    for (int node : members(a)) group_of_[static_cast<size_t>(node)] = b;
    members(b).insert(members(b).end(), members(a).begin(), members(a).end());
    members(a).clear();
  }

  /// How many values both groups together would read.
  size_t operands(int a, int b) {
    std::set<int> read;
    for (int g : {a, b})
      for (int node : members(g))
        for (int value : graph_.node(node).inputs) {
          int producer = graph_.values[static_cast<size_t>(value)].node;
          if (producer < 0 || (group(producer) != a && group(producer) != b)) read.insert(value);
        }
    return read.size();
  }

  /// Whether another group than b reads what a makes: a counter then need not wait for what its update does.
  bool read_outside(int a, int b) {
    return std::ranges::any_of(members(a), [&](int node) {
      const auto& users = users_[static_cast<size_t>(graph_.node(node).outputs[0])];
      return std::ranges::any_of(users, [&](int user) { return group(user) != a && group(user) != b; });
    });
  }

  /// Whether something outside both groups lies on a way from one to the other: merging would close a cycle.
  bool path_outside(int a, int b) {
    std::set<int> seen;
    std::vector<int> stack;
    auto push_users = [&](int g, bool from_merged) {
      for (int node : members(g))
        for (int value : graph_.node(node).outputs)
          for (int user : users_[static_cast<size_t>(value)]) {
            int next = group(user);
            if (from_merged && (next == a || next == b)) continue;
            if (seen.insert(next).second) stack.push_back(next);
          }
    };
    push_users(a, true);
    push_users(b, true);
    while (!stack.empty()) {
      int g = stack.back();
      stack.pop_back();
      if (g == a || g == b) return true;
      push_users(g, false);
    }
    return false;
  }

  /// Groups in an order in which each comes after what it reads.
  std::vector<int> group_order() {
    std::vector<int> order;
    std::vector<int> state(groups_.size());
    auto visit_group = [&](auto&& self, int g) -> void {
      if (state[static_cast<size_t>(g)]) return;
      state[static_cast<size_t>(g)] = 1;
      std::vector<int> nodes = members(g);
      std::ranges::sort(nodes);
      for (int node : nodes)
        for (int value : graph_.node(node).inputs)
          if (int producer = graph_.values[static_cast<size_t>(value)].node;
              producer >= 0 && group(producer) != g)
            self(self, group(producer));
      order.push_back(g);
    };
    for (size_t i = 0; i < graph_.nodes.size(); ++i) visit_group(visit_group, group_of_[i]);
    return order;
  }

  GraphPtr emit() {
    Rewriter rewriter(graph_);
    for (int g : group_order()) {
      std::vector<int> nodes = members(g);
      std::ranges::sort(nodes);
      if (nodes.size() == 1 && !absorbs_full(nodes[0])) rewriter.copy(graph_.node(nodes[0]));
      else emit_region(rewriter, nodes);
    }
    return drop_unread(*rewriter.finish());
  }

  /// A single node with a number among its operands is worth a region: the number becomes an immediate.
  bool absorbs_full(int node) const {
    if (!compute_type(graph_, graph_.node(node))) return false;
    return std::ranges::any_of(graph_.node(node).inputs, [&](int value) {
      int producer = graph_.values[static_cast<size_t>(value)].node;
      return producer >= 0 && is_full(graph_.node(producer));
    });
  }

  void emit_region(Rewriter& rewriter, const std::vector<int>& nodes) {
    // Registers are numbered operands first, then immediates, then results: collect, then number.
    ElementwiseProgram program{.compute = *compute_type(graph_, graph_.node(nodes[0])),
                               .immediates = {},
                               .instructions = {},
                               .outputs = {}};
    std::vector<int> operands;           // old values
    std::map<uint64_t, int> immediates;  // by bits: 0 and -0 differ
    auto inside = [&](int node) { return std::ranges::binary_search(nodes, node); };
    auto external = [&](int value) {
      int producer = graph_.values[static_cast<size_t>(value)].node;
      return producer < 0 || !inside(producer);
    };
    auto number_of = [&](int value) -> std::optional<double> {
      int producer = graph_.values[static_cast<size_t>(value)].node;
      if (producer < 0 || !is_full(graph_.node(producer))) return std::nullopt;
      double number = graph_.node(producer).attrs.number("value");
      DType dtype = graph_.type(value).dtype;
      return is_half(dtype) ? scalar(number, dtype).item<double>() : number;
    };
    auto immediate = [&](double number) {
      if (immediates.emplace(std::bit_cast<uint64_t>(number), static_cast<int>(program.immediates.size()))
              .second)
        program.immediates.push_back(number);
    };
    for (int node : nodes) {
      for (int value : graph_.node(node).inputs) {
        if (!external(value)) continue;
        if (auto number = number_of(value)) immediate(*number);
        else if (std::ranges::find(operands, value) == operands.end()) operands.push_back(value);
      }
    }
    program.inputs = static_cast<int>(operands.size());
    std::map<int, int> registers;  // old value -> register
    for (size_t i = 0; i < operands.size(); ++i) registers[operands[i]] = static_cast<int>(i);
    auto register_of = [&](int value) {
      if (external(value))
        if (auto number = number_of(value))
          return program.inputs + immediates.at(std::bit_cast<uint64_t>(*number));
      return registers.at(value);
    };
    for (int node : nodes) {
      const Node& n = graph_.node(node);
      const int value = n.outputs[0];
      // What is stored as f16 or bf16 is rounded then; what the region computes with, before.
      const DType dtype = graph_.type(value).dtype;
      const bool rounds = is_half(dtype) && std::ranges::any_of(users_[static_cast<size_t>(value)], inside);
      const bool cast = n.op->name == "cast";
      if (cast && !rounds) {  // operands are converted as they are loaded, and bool registers hold 0 or 1
        registers[value] = register_of(n.inputs[0]);
        continue;
      }
      ElementwiseProgram::Instruction instruction{
          .code = cast ? ElementwiseCode::stop_gradient : elementwise_code(n.op->name),
          .rounded = rounds ? dtype : DType::f32};
      for (size_t k = 0; k < n.inputs.size(); ++k) instruction.operands[k] = register_of(n.inputs[k]);
      registers[value] = program.first_result() + static_cast<int>(program.instructions.size());
      program.instructions.push_back(instruction);
    }
    Types types;
    std::vector<int> results;
    std::string dtypes;
    for (int node : nodes) {
      int value = graph_.node(node).outputs[0];
      bool read_outside = kept_[static_cast<size_t>(value)] ||
                          !std::ranges::all_of(users_[static_cast<size_t>(value)], inside);
      if (!read_outside) continue;
      results.push_back(value);
      program.outputs.push_back(registers.at(value));
      types.push_back(graph_.type(value));
      dtypes += (dtypes.empty() ? "" : " ") + std::string(name(types.back().dtype));
    }
    if (types.empty()) return;  // nothing reads the region
    const Shape& shape = types[0].shape;
    Attrs attrs = {{"program", to_string(program)},
                   {"outputs", dtypes},
                   {"shape", std::vector<int64_t>(shape.begin(), shape.end())}};
    std::vector<int> made =
        rewriter.add(find_op("fused"), attrs, rewriter.mapped(operands), types, graph_.node(nodes.back()));
    for (size_t i = 0; i < made.size(); ++i) rewriter.map(results[i], made[i]);
  }

  /// The `full` nodes that became immediates everywhere.
  static GraphPtr drop_unread(const Graph& graph) {
    auto users = graph.users();
    auto kept = graph.kept();
    Rewriter rewriter(graph);
    for (const Node& node : graph.nodes)
      if (!is_full(node) || !users[static_cast<size_t>(node.outputs[0])].empty() ||
          kept[static_cast<size_t>(node.outputs[0])])
        rewriter.copy(node);
    return rewriter.finish();
  }

  const Graph& graph_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> kept_;
  std::vector<std::vector<int>> groups_;
  std::vector<int> group_of_;
};

}  // namespace

GraphPtr fuse(const Graph& graph) {
  GraphPtr with_epilogues = EpilogueFuser(graph).run();
  return Fuser(*with_epilogues).run();
}

}  // namespace wholestep
