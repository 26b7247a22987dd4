// A weight gradient is written once and read by its sum of squares and by the optimizer: three passes over
// memory for a product of a few rows. Made where an update reads it, it never leaves the caches; each further
// update costs the product again, a sum of squares less than that, and nothing where only a bound is asked.
// On a GPU the update makes the gradient by the layer's input, too, where all that is asked of what comes
// behind it is a bound: then a step reads the weight twice, for the forward pass and here.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "wholestep/compile/norm_bound.h"
#include "wholestep/ops/elementwise_program.h"
#include "wholestep/ops/epilogue.h"
#include "wholestep/ops/matmul_fused.h"

namespace wholestep {
namespace {

/// Smaller results stay in the caches of a large GPU or of a CPU's cores, and storing them costs little.
constexpr int64_t kBeyondCachesBytes = int64_t{32} << 20;
/// From here on a CPU gains where the product is made no more often than before. A GPU makes it beside other
/// gradients, in more and smaller tiles than an update's, and then reads it from its cache.
constexpr int64_t kWorthItBytes = int64_t{64} << 10;
/// Operations worth a byte of memory traffic: two CPU cores make about 10 of them in the time a byte takes,
/// GPUs more.
constexpr double kFlopsPerByte = 12;

/// Whether a program's results depend on a register only by whether it, not negative, is finite: by
/// isfinite() of it or of its root.
bool asks_if_finite(const ElementwiseProgram& program, int of) {
  std::vector<int> same = {of},
                   zeros;  // registers that are finite where it is; those that are 0 there, else NaN
  auto is = [](const std::vector<int>& registers, int r) {
    return std::ranges::find(registers, r) != registers.end();
  };
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    const auto& [code, operands, rounded] = program.instructions[i];
    const int result = program.first_result() + static_cast<int>(i);
    const bool of_same = std::ranges::any_of(operands, [&](int r) { return is(same, r); }),
               of_zeros = std::ranges::any_of(operands, [&](int r) { return is(zeros, r); });
    if (of_same && code == ElementwiseCode::sqrt) same.push_back(result);
    else if (of_same && code == ElementwiseCode::sub && operands[0] == operands[1]) zeros.push_back(result);
    else if (of_same) return false;
    else if (of_zeros && code != ElementwiseCode::equal) return false;
  }
  return std::ranges::none_of(program.outputs, [&](int r) { return is(same, r) || is(zeros, r); });
}

class Recomputer {
 public:
  Recomputer(const Graph& graph, const Backend& backend)
      : graph_(graph),
        backend_(backend),
        cpu_(backend.name() == "cpu"),
        users_(graph.users()),
        kept_(graph.kept()),
        behind_(graph.values.size()),
        rewriter_(graph) {}

  GraphPtr run() {
    for (const Node& node : graph_.nodes)
      if (node.op->name == "matmul") consider(node);
    if (!cpu_)
      for (auto [value, made] : products_)
        if (!joined_) join_input_gradient(*made);
    for (const Node& node : graph_.nodes)
      if (node.op->name == "sum_squares")
        for (int value : node.inputs)
          if (bounded(node, value)) bounds_.try_emplace(&node, bound()).first->second.add(value);
    for (const auto& [node, bound] : bounds_)
      for (int value : bound.operands()) bounding_[value] = -1;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) write(static_cast<int>(i));
    return rewriter_.finish();
  }

 private:
  /// A layer whose weight's update makes the gradient by its input.
  struct Joined {
    const Node *input_gradient = nullptr, *update = nullptr, *forward = nullptr;
    int weight = -1;           ///< value
    int64_t square_parts = 0;  ///< that the forward product gives of the weight
  };

  /// A node behind all that it reads now.
  void write(int index) {
    const Node& node = graph_.node(index);
    if (!done_.insert(&node).second) return;
    if (node.op->name == "matmul" && product(node.outputs[0])) return;
    if (joined_ && &node == joined_->input_gradient) return write(index_of(*joined_->update));
    if (joined_ && is_mask_alone(node)) return;
    auto write_maker = [&](int value) {
      if (int maker = graph_.values[static_cast<size_t>(value)].node; maker >= 0) write(maker);
    };
    for (int value : node.inputs)
      if (bounded(node, value)) continue;
      else if (const Node* made = product(value)) std::ranges::for_each(made->inputs, write_maker);
      else write_maker(value);
    auto bound = bounds_.find(&node);
    if (bound != bounds_.end()) std::ranges::for_each(bound->second.operands(), write_maker);
    if (joined_ && &node == joined_->forward) multiply_and_square(node);
    else if (node.op->name == "fused" && takes_product(node)) update_from_product(node);
    else if (node.op->name == "sum_squares" && (takes_product(node) || bound != bounds_.end()))
      add_squares_of_products(node);
    else rewriter_.copy(node);
    for (int value : node.outputs)  // early: nobody waits for it then
      if (bounding_.contains(value)) bounding_[value] = squares_of(value, node);
  }
  int index_of(const Node& node) const { return static_cast<int>(&node - graph_.nodes.data()); }
  /// The product not stored, of which `value` is the result.
  const Node* product(int value) const {
    auto found = products_.find(value);
    return found == products_.end() ? nullptr : found->second;
  }
  bool takes_product(const Node& reader) const {
    return std::ranges::any_of(reader.inputs, [&](int value) { return product(value) != nullptr; });
  }

  void consider(const Node& node) {
    int value = node.outputs[0];
    const std::vector<int>& readers = users_[static_cast<size_t>(value)];
    if (kept_[static_cast<size_t>(value)] || node.inputs.size() != 2 || node.attrs.has("activation")) return;
    bool made_where_read =
        std::ranges::all_of(readers, [&](int r) { return takes(graph_.node(r), value); }) &&
        std::ranges::all_of(node.inputs, [&](int operand) { return stays(operand); });
    if (!made_where_read || !pays(node, readers)) return;
    products_[value] = &node;
  }

  /// Whether the sum of squares of a value is to be had before an update makes gradients.
  bool given(int value) const { return !product(value) && !behind_[static_cast<size_t>(value)]; }
  NormBound bound() const {
    return {graph_, [this](int value) { return given(value); }};
  }
  /// Whether a bound of the value is enough for its reader, and to be had earlier than the value.
  bool bounded(const Node& reader, int value) const {
    return reader.op->name == "sum_squares" && only_finite(reader) && !given(value) && bound().covers(value);
  }

  /// Where the weight's one update, and all that its condition asks of what comes behind the gradient by the
  /// input, allow the update to go first.
  void join_input_gradient(const Node& product) {
    Joined join;
    if (!product.attrs.flag("transpose_a") || product.attrs.flag("transpose_b")) return;
    for (int reader : users_[static_cast<size_t>(product.outputs[0])])
      if (graph_.node(reader).op->name == "fused") {
        if (join.update) return;
        join.update = &graph_.node(reader);
      }
    if (!join.update) return;
    for (int reader : users_[static_cast<size_t>(product.inputs[0])])
      if (const Node& node = graph_.node(reader); is_input_gradient(node, product, *join.update))
        join.input_gradient = &node, join.weight = node.inputs[1];
    if (!join.input_gradient) return;
    for (int reader : users_[static_cast<size_t>(join.weight)]) {
      const Node& node = graph_.node(reader);
      if (&node == join.update || &node == join.input_gradient) continue;
      if (join.forward || node.op->name != "matmul" || node.inputs[1] != join.weight) return;
      join.forward = &node;
      join.square_parts = select_kernel(graph_, node, backend_).kernel->operand_square_parts;
    }
    if (join.square_parts == 0 || !takes_input_gradient(join)) return;
    std::vector<bool> behind = behind_of(*join.input_gradient);
    std::swap(behind, behind_);
    if (depends_on(*join.update, *join.input_gradient)) behind_ = behind;
    else joined_ = join;
  }

  /// dx = dy w, masked by nothing or by x itself, where the product is that of dy and x.
  bool is_input_gradient(const Node& node, const Node& product, const Node& update) const {
    if (node.op->name != "matmul" || node.inputs[0] != product.inputs[0] || node.attrs.flag("transpose_a") ||
        node.attrs.flag("transpose_b") || std::ranges::count(update.inputs, node.inputs[1]) != 1)
      return false;
    if (node.inputs.size() == 2) return !node.attrs.has("activation");
    return masks(node.attrs) &&
           before_reshapes(graph_, node.inputs[2]) == before_reshapes(graph_, product.inputs[1]);
  }
  /// A reshape for the mask of the gradient that the update makes.
  bool is_mask_alone(const Node& node) const {
    const int value = node.outputs[0];
    const std::vector<int>& readers = users_[static_cast<size_t>(value)];
    return node.op->name == "reshape" && !kept_[static_cast<size_t>(value)] && !readers.empty() &&
           std::ranges::all_of(readers, [&](int r) { return &graph_.node(r) == joined_->input_gradient; }) &&
           value != joined_->input_gradient->inputs[0];
  }

  bool takes_input_gradient(const Joined& join) const {
    const auto [attrs, values] = request_of(*join.update, &join);
    Types inputs, outputs = graph_.output_types(*join.update);
    for (int value : values) inputs.push_back(graph_.type(value));
    outputs.push_back(graph_.type(join.input_gradient->outputs[0]));
    const OpDef& op = find_op("matmul_fused");
    return choose_kernel(op, {op.name, inputs, outputs, attrs}, backend_.name()).kernel->name ==
           "tensor columns";
  }

  /// The values that depend on a node.
  std::vector<bool> behind_of(const Node& first) const {
    std::vector<bool> behind(graph_.values.size());
    for (size_t i = static_cast<size_t>(index_of(first)); i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (&node == &first ||
          std::ranges::any_of(node.inputs, [&](int value) { return behind[static_cast<size_t>(value)]; }))
        for (int value : node.outputs) behind[static_cast<size_t>(value)] = true;
    }
    return behind;
  }
  /// Whether what an update reads, with bounds in place of what lies behind, still comes from there.
  bool depends_on(const Node& update, const Node& ancestor) const {
    std::set<const Node*> seen;
    auto reaches = [&](auto&& self, const Node& node) -> bool {
      if (&node == &ancestor) return true;
      return seen.insert(&node).second && std::ranges::any_of(node.inputs, [&](int value) {
               const int maker = graph_.values[static_cast<size_t>(value)].node;
               return maker >= 0 && !bounded(node, value) && self(self, graph_.node(maker));
             });
    };
    return reaches(reaches, update);
  }

  /// The product that makes the layer's result, and squares its weight on the way.
  void multiply_and_square(const Node& node) {
    Attrs attrs = node.attrs;
    attrs.set({"operand_squares", joined_->square_parts});
    Types types = graph_.output_types(node);
    types.push_back({DType::f64, {joined_->square_parts}});
    std::vector<int> results = rewriter_.add(*node.op, attrs, rewriter_.mapped(node.inputs), types, node);
    rewriter_.map(node.outputs[0], results[0]);
    bounding_[joined_->weight] = rewriter_.add(find_op("sum_squares"), {{"sums", std::vector<int64_t>{0}}},
                                               {results[1]}, {{DType::f64, {}}}, node)[0];
  }

  /// Whether a reader can take the elements of `value` as they are made; of several products only one.
  bool takes(const Node& reader, int value) const {
    if (reader.op->name == "sum_squares") return true;
    const TensorType& type = graph_.type(value);
    return reader.op->name == "fused" && !takes_product(reader) &&
           graph_.type(reader.outputs[0]).shape == type.shape &&
           parse_elementwise_program(reader.attrs.text("program")).compute == type.dtype;
  }

  /// Whether an operand of the product still has its value while an update of parameters and state is
  /// written.
  bool stays(int value) const {
    value = before_reshapes(graph_, value);
    return graph_.values[static_cast<size_t>(value)].node >= 0 ||
           std::ranges::none_of(graph_.updates, [&](const Update& update) { return update.target == value; });
  }

  /// Whether not storing is worth what the readers compute instead of one product: nothing more where one
  /// update makes it and of the norm only a bound is asked, else the bytes no longer written and read.
  bool pays(const Node& node, const std::vector<int>& readers) const {
    const TensorType& type = graph_.type(node.outputs[0]);
    Types inputs = graph_.input_types(node), outputs = graph_.output_types(node);
    if (matmul_dims(inputs, node.attrs).k > kFusedTerms) return false;
    double saved_bytes = static_cast<double>(type.bytes()) * (1 + static_cast<double>(readers.size())),
           more_flops = -flops(*node.op, {node.op->name, inputs, outputs, node.attrs});
    for (int reader : readers) {
      const bool update = graph_.node(reader).op->name == "fused";
      if (!update && only_finite(graph_.node(reader))) continue;
      const OpDef& op = update ? *node.op : find_op("matmul_squares");
      more_flops += flops(op, {op.name, inputs, outputs, node.attrs});
    }
    return type.bytes() >= (cpu_ && more_flops <= 0 ? kWorthItBytes : kBeyondCachesBytes) &&
           more_flops <= kFlopsPerByte * saved_bytes;
  }

  /// Attributes and operands of the op that makes an update with its product, which becomes register 0 of the
  /// program.
  std::pair<Attrs, std::vector<int>> request_of(const Node& update, const Joined* join) const {
    std::vector<int> rest = update.inputs;
    auto at = std::ranges::find_if(rest, [&](int value) { return product(value) != nullptr; });
    const Node& made = *product(*at);
    int place = static_cast<int>(at - rest.begin());
    std::iter_swap(rest.begin(), at);
    ElementwiseProgram program = parse_elementwise_program(update.attrs.text("program"));
    auto swap_registers = [&](int& r) { r = r == 0 ? place : r == place ? 0 : r; };
    for (auto& instruction : program.instructions)
      std::ranges::for_each(instruction.operands, swap_registers);
    std::ranges::for_each(program.outputs, swap_registers);

    Attrs attrs = update.attrs;
    attrs.set({"program", to_string(program)});
    for (const char* flag : {"transpose_a", "transpose_b"}) attrs.set({flag, made.attrs.flag(flag)});
    std::vector<int> inputs = made.inputs;
    inputs.insert(inputs.end(), rest.begin() + 1, rest.end());
    if (join) {
      attrs.set(
          {"input_gradient", static_cast<int64_t>(std::ranges::find(inputs, join->weight) - inputs.begin())});
      attrs.set({"masked", join->input_gradient->inputs.size() == 3});
    }
    return {attrs, inputs};
  }

  void update_from_product(const Node& node) {
    const bool joined = joined_ && &node == joined_->update;
    const auto [attrs, inputs] = request_of(node, joined ? &*joined_ : nullptr);
    Types types = graph_.output_types(node);
    if (joined) types.push_back(graph_.type(joined_->input_gradient->outputs[0]));
    const Node& made = *product(*std::ranges::find_if(node.inputs, [&](int v) { return product(v); }));
    std::vector<int> results =
        rewriter_.add(find_op("matmul_fused"), attrs, rewriter_.mapped(inputs), types, made);
    for (size_t i = 0; i < node.outputs.size(); ++i) rewriter_.map(node.outputs[i], results[i]);
    if (joined) rewriter_.map(joined_->input_gradient->outputs[0], results.back());
  }

  void add_squares_of_products(const Node& node) {
    auto bound = bounds_.find(&node);
    std::vector<int> inputs;
    std::vector<int64_t> sums;
    for (int value : node.inputs) {
      const Node* made = product(value);
      if (bounded(node, value)) continue;
      if (made) sums.push_back(static_cast<int64_t>(inputs.size()));
      inputs.push_back(made ? rewriter_.add(find_op("matmul_squares"), made->attrs,
                                            rewriter_.mapped(made->inputs), {{DType::f64, {}}}, *made)[0]
                            : rewriter_.mapped(value));
    }
    if (bound != bounds_.end()) {
      sums.push_back(static_cast<int64_t>(inputs.size()));
      inputs.push_back(write_bound(bound->second, node));
    }
    Attrs attrs = node.attrs;
    attrs.set({"sums", sums});
    rewriter_.map(node.outputs[0],
                  rewriter_.add(*node.op, attrs, inputs, graph_.output_types(node), node)[0]);
  }

  /// Whether all that is asked of a sum of squares is if it is finite.
  bool only_finite(const Node& sum) const {
    const int value = sum.outputs[0];
    return !kept_[static_cast<size_t>(value)] &&
           std::ranges::all_of(users_[static_cast<size_t>(value)], [&](int r) {
             const Node& reader = graph_.node(r);
             return reader.op->name == "fused" && std::ranges::count(reader.inputs, value) == 1 &&
                    asks_if_finite(
                        parse_elementwise_program(reader.attrs.text("program")),
                        static_cast<int>(std::ranges::find(reader.inputs, value) - reader.inputs.begin()));
           });
  }

  int squares_of(int value, const Node& like) {
    return rewriter_.add(find_op("sum_squares"), {}, {rewriter_.mapped(value)}, {{DType::f64, {}}}, like)[0];
  }

  int write_bound(const NormBound& bound, const Node& like) {
    std::vector<int> sums;
    for (int value : bound.operands()) {
      int& sum = bounding_.at(value);  // -1 of what the step is given
      if (sum < 0) sum = squares_of(value, like);
      sums.push_back(sum);
    }
    Attrs attrs{{"program", to_string(bound.program(graph_.type(like.inputs[0]).dtype))},
                {"outputs", "f64"},
                {"shape", std::vector<int64_t>{}}};
    return rewriter_.add(find_op("fused"), attrs, sums, {{DType::f64, {}}}, like)[0];
  }

  const Graph& graph_;
  const Backend& backend_;
  const bool cpu_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> kept_;
  std::map<int, const Node*> products_;  // not stored, by their results
  std::optional<Joined> joined_;
  std::vector<bool> behind_;  // values that depend on the gradient by its input
  Rewriter rewriter_;
  std::set<const Node*> done_;
  std::map<const Node*, NormBound> bounds_;  // of sums of squares
  std::map<int, int> bounding_;              // operands of those, and the sums of their squares
};

}  // namespace

GraphPtr recompute(const Graph& graph, const Backend& backend) { return Recomputer(graph, backend).run(); }

}  // namespace wholestep
