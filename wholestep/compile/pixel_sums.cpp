// A convolution whose ReLU is only averaged over its pixels, as the last one before a classifier that looks
// at the whole picture, needs no activation: its weight's gradient is made of sums over pixels that can be
// had with the convolution, in one pass over the picture instead of four. Where the gradient goes on to the
// input, the activation stays.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "wholestep/compile/passes.h"
#include "wholestep/ops/elementwise_program.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

/// As fuse() writes the gradient of a ReLU.
constexpr std::string_view kMask = "f32 2 | 0 | greater 0 2; where 3 1 2 | 4";

std::vector<int64_t> extents(const Shape& shape) { return {shape.begin(), shape.end()}; }

class PixelSums {
 public:
  PixelSums(const Graph& graph, const Backend& backend)
      : graph_(graph), backend_(backend), users_(graph.users()), kept_(graph.kept()), rewriter_(graph) {}

  GraphPtr run() {
    for (const Node& node : graph_.nodes)
      if (node.op->name == "conv2d") consider(node);
    for (const Node& node : graph_.nodes) {
      if (gone_.contains(&node)) continue;
      if (auto found = found_.find(&node); found != found_.end()) emit_sums(found->second);
      else if (auto conv = conv_of_.find(&node); conv != conv_of_.end())
        emit_gradient(node, found_.at(conv->second));
      else rewriter_.copy(node);
    }
    return rewriter_.finish();
  }

 private:
  /// A convolution and all that its result is used for.
  struct Found {
    const Node *conv, *sum, *mask, *gradient;
    const Node *mean = nullptr, *of_mean = nullptr;  ///< what scales the sum, and its gradient, or null
    const Node* program;         ///< that makes x of something and is read by nobody else, or null
    Attrs attrs = {};            ///< of conv2d_sums
    Types types = {};            ///< and its results,
    std::vector<int> made = {};  ///< which are these
  };

  std::vector<const Node*> readers(int value) const {
    std::vector<const Node*> nodes;
    for (int node : users_[static_cast<size_t>(value)]) nodes.push_back(&graph_.node(node));
    return nodes;
  }
  bool kept(int value) const { return kept_[static_cast<size_t>(value)]; }

  void consider(const Node& conv) {
    const int y = conv.outputs[0];
    const Shape& shape = graph_.type(y).shape;
    std::vector<const Node*> of_y = readers(y);
    if (conv.attrs.text_or("activation", "") != "relu" || of_y.size() != 2 || kept(y) ||
        conv.attrs.integer("groups") != 1)
      return;
    if (of_y[0]->op->name == "fused") std::swap(of_y[0], of_y[1]);
    const Node &sum = *of_y[0], &mask = *of_y[1];
    if (sum.op->name != "sum" || sum.attrs.integers("axes") != std::vector<int64_t>{2, 3} ||
        mask.op->name != "fused" || mask.attrs.text("program") != kMask || mask.inputs[0] != y ||
        graph_.type(mask.inputs[1]).shape != Shape{shape[0], shape[1], 1, 1} || kept(mask.outputs[0]))
      return;
    std::vector<const Node*> of_mask = readers(mask.outputs[0]);
    if (of_mask.size() != 1 || of_mask[0]->op->name != "conv2d_dw" ||
        of_mask[0]->inputs != std::vector<int>{conv.inputs[0], mask.outputs[0]})
      return;
    Found found{.conv = &conv,
                .sum = &sum,
                .mask = &mask,
                .gradient = of_mask[0],
                .program = program_of(conv.inputs[0])};
    if (!kept(sum.outputs[0]) && readers(sum.outputs[0]).size() == 1 && factor(*readers(sum.outputs[0])[0]))
      found.mean = readers(sum.outputs[0])[0];
    const int g = graph_.values[static_cast<size_t>(mask.inputs[1])].node;
    if (g >= 0 && !kept(mask.inputs[1]) && readers(mask.inputs[1]).size() == 1 && factor(graph_.node(g)))
      found.of_mean = &graph_.node(g);
    describe(found);
    if (!has_fast_kernel(found)) return;
    gone_.insert({found.sum, found.mask, found.program, found.mean, found.of_mean});
    conv_of_[found.gradient] = &conv;
    found_[&conv] = std::move(found);
  }

  /// By what an element-wise program multiplies its one operand, if it does nothing else.
  static std::optional<double> factor(const Node& node) {
    if (node.op->name != "fused" || node.inputs.size() != 1) return std::nullopt;
    ElementwiseProgram program = parse_elementwise_program(node.attrs.text("program"));
    if (program.immediates.size() != 1 || to_string(program) != to_string(scaled_by(program.immediates[0])))
      return std::nullopt;
    return program.immediates[0];
  }
  static ElementwiseProgram scaled_by(double number) {
    return {.inputs = 1,
            .immediates = {number},
            .instructions = {{.code = ElementwiseCode::mul, .operands = {0, 1, -1}}},
            .outputs = {2}};
  }

  /// The element-wise program that makes x of one tensor, if the convolution and its gradient alone read it.
  const Node* program_of(int x) const {
    return kept(x) || readers(x).size() != 2 ? nullptr : pixel_program(graph_, x);
  }

  void describe(Found& found) const {
    found.attrs = {{"groups", int64_t{1}}};
    for (const char* name : {"stride", "padding", "dilation"})
      found.attrs.set({name, found.conv->attrs.integers(name)});
    if (found.program) found.attrs.set({"program", found.program->attrs.text("program")});
    if (found.mean) found.attrs.set({"scale", *factor(*found.mean)});
    found.types = sums_.infer(inputs_of(found), found.attrs);
  }
  Types inputs_of(const Found& found) const {
    Types inputs = graph_.input_types(*found.conv);
    if (found.program) inputs[0] = graph_.type(found.program->inputs[0]);
    return inputs;
  }
  bool has_fast_kernel(const Found& found) const {
    const Types inputs = inputs_of(found);
    const KernelRequest request{sums_.name, inputs, found.types, found.attrs};
    return choose_kernel(sums_, request, backend_.name()).kernel->refuse;  // the plain ones take everything
  }

  std::vector<int> add(std::string_view op, Attrs attrs, std::vector<int> inputs, const Types& types,
                       const Node& like) {
    return rewriter_.add(find_op(op), std::move(attrs), std::move(inputs), types, like);
  }

  void emit_sums(Found& found) {
    std::vector<int> inputs = rewriter_.mapped(found.program ? found.program->inputs : std::vector<int>{});
    for (size_t i = inputs.size(); i < found.conv->inputs.size(); ++i)
      inputs.push_back(rewriter_.mapped(found.conv->inputs[i]));
    found.made = add(sums_.name, found.attrs, inputs, found.types, *found.conv);
    const int result = (found.mean ? found.mean : found.sum)->outputs[0];
    const TensorType& total = graph_.type(result);
    rewriter_.map(result,
                  add("reshape", {{"shape", extents(total.shape)}}, {found.made[0]}, {total}, *found.sum)[0]);
  }

  void emit_gradient(const Node& node, const Found& found) {
    const TensorType& g = found.types[0];  // as the totals
    const int of_total =
        add("reshape", {{"shape", extents(g.shape)}},
            {rewriter_.mapped(found.of_mean ? found.of_mean->inputs[0] : found.mask->inputs[1])}, {g},
            *found.mask)[0];
    Attrs attrs;
    if (node.attrs.has("bias")) attrs.set({"bias", true});
    if (found.of_mean) attrs.set({"scale", *factor(*found.of_mean)});
    std::vector<int> made = add("conv2d_sums_dw", attrs, {found.made[1], found.made[2], of_total},
                                graph_.output_types(node), node);
    for (size_t i = 0; i < made.size(); ++i) rewriter_.map(node.outputs[i], made[i]);
  }

  const Graph& graph_;
  const Backend& backend_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> kept_;
  Rewriter rewriter_;
  const OpDef& sums_ = find_op("conv2d_sums");
  std::map<const Node*, Found> found_;          // by convolution
  std::map<const Node*, const Node*> conv_of_;  // by weight gradient
  std::set<const Node*> gone_;
};

}  // namespace

GraphPtr sum_pixels(const Graph& graph, const Backend& backend) { return PixelSums(graph, backend).run(); }

}  // namespace wholestep
