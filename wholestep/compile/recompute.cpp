// A weight gradient is written once and read by its sum of squares and by the optimizer: three passes over
// memory for a product of a few rows. Made where an update reads it, it never leaves the caches; each further
// update costs the product again, a sum of squares less than that, and nothing where only a bound is asked.
#include <algorithm>
#include <limits>
#include <map>

#include "wholestep/compile/passes.h"
#include "wholestep/ops/elementwise_program.h"
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
        cpu_(backend.name() == "cpu"),
        users_(graph.users()),
        kept_(graph.kept()),
        rewriter_(graph) {}

  GraphPtr run() {
    for (const Node& node : graph_.nodes)
      if (node.op->name == "matmul") consider(node);
    for (const Node& node : graph_.nodes) {
      if (node.op->name == "matmul" && product(node.outputs[0])) continue;
      if (node.op->name == "fused" && takes_product(node)) update_from_product(node);
      else if (node.op->name == "sum_squares" && takes_product(node)) add_squares_of_products(node);
      else rewriter_.copy(node);
      for (int value : node.outputs)  // early: nobody waits for it then
        if (bounding_.contains(value)) bounding_[value] = squares_of(value, node);
    }
    return rewriter_.finish();
  }

 private:
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
    for (int r : readers)
      if (graph_.node(r).op->name == "sum_squares" && only_finite(graph_.node(r)))
        for (int operand : node.inputs) bounding_[before_reshapes(graph_, operand)] = -1;
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

  /// The product becomes register 0 of the program.
  void update_from_product(const Node& node) {
    std::vector<int> rest = node.inputs;
    auto at = std::ranges::find_if(rest, [&](int value) { return product(value) != nullptr; });
    const Node& made = *product(*at);
    int place = static_cast<int>(at - rest.begin());
    std::iter_swap(rest.begin(), at);
    ElementwiseProgram program = parse_elementwise_program(node.attrs.text("program"));
    auto swap_registers = [&](int& r) { r = r == 0 ? place : r == place ? 0 : r; };
    for (auto& instruction : program.instructions)
      std::ranges::for_each(instruction.operands, swap_registers);
    std::ranges::for_each(program.outputs, swap_registers);

    Attrs attrs = node.attrs;
    attrs.set({"program", to_string(program)});
    for (const char* flag : {"transpose_a", "transpose_b"}) attrs.set({flag, made.attrs.flag(flag)});
    std::vector<int> inputs = rewriter_.mapped(made.inputs);
    for (size_t i = 1; i < rest.size(); ++i) inputs.push_back(rewriter_.mapped(rest[i]));
    std::vector<int> results =
        rewriter_.add(find_op("matmul_fused"), attrs, inputs, graph_.output_types(node), made);
    for (size_t i = 0; i < results.size(); ++i) rewriter_.map(node.outputs[i], results[i]);
  }

  void add_squares_of_products(const Node& node) {
    const bool finite = only_finite(node);
    std::vector<int> inputs;
    std::vector<int64_t> sums;
    for (int value : node.inputs) {
      const Node* made = product(value);
      if (made) sums.push_back(static_cast<int64_t>(inputs.size()));
      inputs.push_back(!made ? rewriter_.mapped(value)
                       : finite
                           ? bound_of(*made)
                           : rewriter_.add(find_op("matmul_squares"), made->attrs,
                                           rewriter_.mapped(made->inputs), {{DType::f64, {}}}, *made)[0]);
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

  /// No element of op(a) op(b), nor a part of its sum, is beyond the root of the sums of squares of a and b
  /// multiplied (Cauchy and Schwarz). This is that many times as large that it is infinite where the root is
  /// near the largest f32, as matmul_squares is.
  int bound_of(const Node& made) {
    std::vector<int> sums;
    for (int value : made.inputs) {
      value = before_reshapes(graph_, value);
      int& sum = bounding_.at(value);  // -1 of what the step is given
      if (sum < 0) sum = squares_of(value, made);
      sums.push_back(sum);
    }
    const bool f32 = graph_.type(made.outputs[0]).dtype == DType::f32;
    const double beyond = f32 ? std::numeric_limits<double>::max() / (kMostReach * kMostReach) : 1;
    ElementwiseProgram program;
    program.compute = DType::f64;
    program.inputs = 2;
    program.immediates = {beyond};
    program.instructions = {{.code = ElementwiseCode::mul, .operands = {0, 1, -1}},
                            {.code = ElementwiseCode::mul, .operands = {3, 2, -1}}};
    program.outputs = {4};
    Attrs attrs{{"program", to_string(program)}, {"outputs", "f64"}, {"shape", std::vector<int64_t>{}}};
    return rewriter_.add(find_op("fused"), attrs, sums, {{DType::f64, {}}}, made)[0];
  }

  const Graph& graph_;
  const bool cpu_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> kept_;
  Rewriter rewriter_;
  std::map<int, const Node*> products_;  // not stored, by their results
  std::map<int, int> bounding_;          // operands of those, and the sums of their squares
};

}  // namespace

GraphPtr recompute(const Graph& graph, const Backend& backend) { return Recomputer(graph, backend).run(); }

}  // namespace wholestep
