// Small convolutions run a sample a lane, and a batch of 32 leaves three quarters of a large GPU idle. Where
// one convolution reads another, samples are shared out by rows among more lanes: each makes a strip of every
// result, and for itself the rows around it that the next convolution reads. The end of a backward pass, a
// gradient of rows that nothing but a weight's gradient reads, needs no rows around it.
#include <algorithm>
#include <map>
#include <optional>

#include "wholestep/backend/phases.h"
#include "wholestep/compile/passes.h"
#include "wholestep/ops/conv2d_cpu.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

/// Operations of a sample, without which lanes spend their time on other things than arithmetic.
constexpr double kWorthSharing = 1e6;
/// Half of the multiprocessors of a large GPU: the kernels in front and behind find others to come in early.
constexpr int64_t kMostLanes = kLanesAlone / 2;
/// The part of a sample's work that a strip may be, with what neighbours make as well: of a chain forward,
/// and of the end of the way back with the gradients that lead there.
constexpr double kMostOfASample = 0.6, kMostOfASampleBack = 0.75;

class Sharer {
 public:
  Sharer(const Graph& graph, const Backend& backend)
      : graph_(graph), backend_(backend), users_(graph.users()), kept_(graph.kept()), rewriter_(graph) {}

  GraphPtr run() {
    for (const Node& node : graph_.nodes)
      if (node.op->name == "conv2d" && !links_.contains(&node)) consider(chain_from(node));
      else if (node.op->name == "conv2d_dx") consider_end(node);
    for (const Node& node : graph_.nodes)
      if (auto found = links_.find(&node); found != links_.end()) emit(found->second);
      else if (auto end = ends_.find(&node); end != ends_.end()) emit_gradient(node, end->second);
      else rewriter_.copy(node);
    return rewriter_.finish();
  }

 private:
  /// A convolution of a chain.
  struct Link {
    const Node* conv;
    Conv2d sizes;
    const Node* program = nullptr;  ///< that scales the pixels it reads, or null
    const Node* before = nullptr;   ///< whose strips it reads, or null
    int64_t first = 0, count = 0;   ///< rows a strip makes
    Attrs attrs = {};               ///< of conv2d_strips
    Types types = {};               ///< and its results,
    std::vector<int> made = {};     ///< which are these
  };

  KernelRequest request_of(const Node& node, Types& inputs, Types& outputs) const {
    inputs = graph_.input_types(node), outputs = graph_.output_types(node);
    return {node.op->name, inputs, outputs, node.attrs};
  }

  /// The first node that reads a value, under whatever shape, and as which operand; it comes before those of
  /// the backward pass.
  std::optional<std::pair<const Node*, size_t>> reader(int value) const {
    for (;;) {
      const std::vector<int>& readers = users_[static_cast<size_t>(value)];
      if (readers.empty()) return std::nullopt;
      const Node& node = graph_.node(*std::ranges::min_element(readers));
      if (node.op->name != "reshape") {
        auto at = std::ranges::find(node.inputs, value);
        return std::pair(&node, static_cast<size_t>(at - node.inputs.begin()));
      }
      value = node.outputs[0];
    }
  }

  std::vector<Link> chain_from(const Node& first) const {
    std::vector<Link> chain;
    for (const Node* conv = &first; conv && !links_.contains(conv);) {
      Types inputs, outputs;
      chain.push_back({.conv = conv, .sizes = conv2d_problem(request_of(*conv, inputs, outputs)).conv});
      const auto next = reader(conv->outputs[0]);
      const bool goes_on = next && next->first->op->name == "conv2d" && next->second == 0 &&
                           next->first->inputs[0] == conv->outputs[0];
      conv = goes_on ? next->first : nullptr;
    }
    return chain;
  }

  void consider(std::vector<Link> chain) {
    const int64_t samples = graph_.type(chain[0].conv->outputs[0]).shape[0];
    double flops = 0;
    for (const Link& link : chain) flops += conv2d_sample_flops(link.sizes);
    if (chain.size() < 2 || flops < kWorthSharing || samples == 0 ||
        !std::ranges::all_of(chain, [&](const Link& link) { return is_read_again(link); }) ||
        lane_goes_on(*chain.back().conv))
      return;
    for (int64_t strips = most_strips(samples); strips > 1; strips /= 2)
      if (share(chain, strips, flops) && have_kernels(chain)) {
        for (const Link& link : chain) links_[link.conv] = link;
        return;
      }
  }

  static int64_t most_strips(int64_t samples) {
    int64_t strips = 1;
    while (samples * strips * 2 <= kMostLanes) strips *= 2;
    return strips;
  }

  /// By more than the next convolution, as in a backward pass. Where lanes need not store their results,
  /// strips of them gain nothing.
  bool is_read_again(const Link& link) const {
    const int y = link.conv->outputs[0];
    return users_[static_cast<size_t>(y)].size() > 1 || kept_[static_cast<size_t>(y)];
  }

  /// Whether what reads the result does so sample by sample, which a lane that has made it could go on with.
  bool lane_goes_on(const Node& conv) const {
    const auto found = reader(conv.outputs[0]);
    if (!found) return false;
    const std::vector<PhaseExtent> phases = phases_of(*found->first);
    return !phases.empty() && phases.front().rows > 0 &&
           has_operand(phases.front().row_inputs, found->second);
  }

  std::vector<PhaseExtent> phases_of(const Node& node) const {
    const auto kernel = select_kernel(graph_, node, backend_).kernel;
    std::vector<PhaseExtent> phases;
    if (const auto* phased = dynamic_cast<const PhasedKernel*>(kernel.get()))
      for (size_t i = 0; i < phased->phase_count(); ++i) phases.push_back(phased->phase(i));
    return phases;
  }

  /// The node that makes a value, under whatever shape, or null.
  const Node* maker(int value) const {
    const int node = graph_.values[static_cast<size_t>(before_reshapes(graph_, value))].node;
    return node < 0 ? nullptr : &graph_.node(node);
  }
  double flops_of(const Node& node) const {
    Types inputs, outputs;
    return conv2d_sample_flops(conv2d_problem(request_of(node, inputs, outputs)).conv);
  }

  /// If the end of a backward pass, dx and the gradient of a weight that reads it, is worth strips.
  void consider_end(const Node& dx) {
    const std::vector<int>& readers = users_[static_cast<size_t>(dx.outputs[0])];
    if (readers.size() != 1 || kept_[static_cast<size_t>(dx.outputs[0])]) return;
    const Node& dw = graph_.node(readers[0]);
    if (dw.op->name != "conv2d_dw" || dw.inputs[1] != dx.outputs[0]) return;
    // Every lane repeats for whole samples the gradients that lead to dx, and a lane beside them, too, if a
    // weight's gradient reads one.
    const int64_t samples = graph_.type(dx.outputs[0]).shape[0];
    const double of_both = flops_of(dx) + flops_of(dw);
    double repeated = 0;
    int64_t lanes_beside = samples;
    const Node* before = maker(dx.inputs[0]);
    for (; before && before->op->name == "conv2d_dx"; before = maker(before->inputs[0]))
      repeated += flops_of(*before), lanes_beside += samples;
    if (of_both < kWorthSharing || samples == 0 || (before && works_by_rows(*before))) return;
    const int64_t rows = graph_.type(dx.outputs[0]).shape[2];
    for (int64_t strips = most_strips(samples); strips > 1; strips /= 2)
      if (rows % (strips * dx.attrs.integers("stride")[0]) == 0 &&
          samples * strips + lanes_beside <= kLanesAlone &&
          repeated + of_both / static_cast<double>(strips) <= kMostOfASampleBack * (repeated + of_both) &&
          have_kernels(dx, dw, strips)) {
        ends_[&dx] = ends_[&dw] = strips;
        return;
      }
  }

  /// Whether a node's result is made sample by sample, in lanes that its readers could go on with.
  bool works_by_rows(const Node& node) const {
    const std::vector<PhaseExtent> phases = phases_of(node);
    return !phases.empty() && phases.back().rows > 0;
  }

  static Attrs with_strips(const Node& node, int64_t strips) {
    Attrs attrs = node.attrs;
    attrs.set({"strips", strips});
    return attrs;
  }
  bool is_made_for(const OpDef& op, const Types& inputs, const Attrs& attrs) const {
    const Types types = op.infer(inputs, attrs);
    // The plain one takes everything.
    return bool(choose_kernel(op, {op.name, inputs, types, attrs}, backend_.name()).kernel->refuse);
  }
  bool have_kernels(const Node& dx, const Node& dw, int64_t strips) const {
    if (dx.attrs.integer("groups") != 1 || dw.attrs.integer("groups") != 1) return false;
    const Types inputs = graph_.input_types(dx);
    Types of_weight = graph_.input_types(dw);
    if (inputs[1].dtype != DType::f32) return false;
    of_weight[1] = dx_op_.infer(inputs, with_strips(dx, strips))[0];
    return is_made_for(dx_op_, inputs, with_strips(dx, strips)) &&
           is_made_for(dw_op_, of_weight, with_strips(dw, strips));
  }

  void emit_gradient(const Node& node, int64_t strips) {
    const OpDef& op = node.op->name == "conv2d_dx" ? dx_op_ : dw_op_;
    Types types = graph_.output_types(node);
    if (&op == &dx_op_) types = op.infer(graph_.input_types(node), with_strips(node, strips));
    const std::vector<int> made =
        rewriter_.add(op, with_strips(node, strips), rewriter_.mapped(node.inputs), types, node);
    for (size_t i = 0; i < made.size(); ++i) rewriter_.map(node.outputs[i], made[i]);
  }

  /// The rows that every strip has to make, from the last convolution back.
  static bool share(std::vector<Link>& chain, int64_t strips, double flops) {
    double of_a_strip = 0;
    for (size_t i = chain.size(); i-- > 0;) {
      Link& link = chain[i];
      const ConvAxis& rows = link.sizes.y;
      const int64_t own = rows.out / strips;
      if (rows.out % strips != 0 || (i > 0 && rows.in != rows.out * rows.stride)) return false;
      int64_t end = own;
      link.first = 0;
      if (i + 1 < chain.size()) {
        const Link& next = chain[i + 1];
        const ConvAxis& read = next.sizes.y;
        link.first = std::min<int64_t>(0, next.first * read.stride - read.padding);
        end = std::max(own, (next.first + next.count - 1) * read.stride - read.padding +
                                (read.kernel - 1) * read.dilation + 1);
      }
      link.count = end - link.first;
      link.attrs = link.conv->attrs;
      link.attrs.set({"strips", strips});
      if (i + 1 < chain.size()) link.attrs.set({"rows", std::vector{link.first, link.count}});
      of_a_strip +=
          conv2d_sample_flops(link.sizes) * static_cast<double>(link.count) / static_cast<double>(rows.out);
    }
    return of_a_strip <= kMostOfASample * flops;
  }

  /// Operands and results of every link, which must all have a kernel made for it.
  bool have_kernels(std::vector<Link>& chain) const {
    for (size_t i = 0; i < chain.size(); ++i) {
      Link& link = chain[i];
      Types inputs = graph_.input_types(*link.conv);
      if (i == 0) {
        if (link.program = pixel_program(graph_, link.conv->inputs[0]); link.program) {
          link.attrs.set({"program", link.program->attrs.text("program")});
          inputs[0] = graph_.type(link.program->inputs[0]);
        }
      } else {
        link.before = chain[i - 1].conv;
        link.attrs.set({"x_rows", std::vector{chain[i - 1].first, link.sizes.y.in}});
        inputs[0] = chain[i - 1].types[1];
      }
      if (link.sizes.groups != 1 || inputs[1].dtype != DType::f32) return false;
      link.types = op_.infer(inputs, link.attrs);
      if (!is_made_for(op_, inputs, link.attrs)) return false;
    }
    return true;
  }

  void emit(Link& link) {
    const std::vector<int>& operands = link.conv->inputs;
    std::vector<int> inputs = {link.before    ? links_.at(link.before).made[1]
                               : link.program ? rewriter_.mapped(link.program->inputs[0])
                                              : rewriter_.mapped(operands[0])};
    for (size_t i = 1; i < operands.size(); ++i) inputs.push_back(rewriter_.mapped(operands[i]));
    link.made = rewriter_.add(op_, link.attrs, inputs, link.types, *link.conv);
    rewriter_.map(link.conv->outputs[0], link.made[0]);
  }

  const Graph& graph_;
  const Backend& backend_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> kept_;
  Rewriter rewriter_;
  const OpDef &op_ = find_op("conv2d_strips"), &dx_op_ = find_op("conv2d_dx_strips"),
              &dw_op_ = find_op("conv2d_dw_strips");
  std::map<const Node*, Link> links_;    // by convolution
  std::map<const Node*, int64_t> ends_;  // strips of a sample, by gradient
};

}  // namespace

GraphPtr share_rows(const Graph& graph, const Backend& backend) { return Sharer(graph, backend).run(); }

}  // namespace wholestep
