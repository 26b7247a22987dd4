// A first convolution and its weight's gradient read pixels, which an element-wise program has made numbers
// of, four times as many bytes. Kernels that scale a sample at a time where they read it need no such tensor.
#include <algorithm>
#include <set>

#include "wholestep/compile/passes.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

class PixelReader {
 public:
  PixelReader(const Graph& graph, const Backend& backend)
      : graph_(graph), backend_(backend), users_(graph.users()), kept_(graph.kept()), rewriter_(graph) {}

  GraphPtr run() {
    for (const Node& node : graph_.nodes)
      if (node.op->name == "fused") consider(node);
    for (const Node& node : graph_.nodes) {
      if (gone_.contains(&node)) continue;
      if (const Node* program = program_of(node)) read(node, *program);
      else rewriter_.copy(node);
    }
    return rewriter_.finish();
  }

 private:
  void consider(const Node& program) {
    const int x = program.outputs[0];
    const std::vector<int>& readers = users_[static_cast<size_t>(x)];
    if (pixel_program(graph_, x) != &program || kept_[static_cast<size_t>(x)] || readers.empty() ||
        graph_.type(program.inputs[0]).bytes() >= graph_.type(x).bytes())
      return;
    if (std::ranges::all_of(readers, [&](int reader) { return stays_direct(graph_.node(reader), program); }))
      gone_.insert(&program);
  }

  /// Whether the node is a convolution, or its weight's gradient, that is run by the direct kernels either
  /// way.
  bool stays_direct(const Node& node, const Node& program) const {
    if ((node.op->name != "conv2d" && node.op->name != "conv2d_dw") || node.inputs[0] != program.outputs[0] ||
        std::ranges::count(node.inputs, program.outputs[0]) != 1)
      return false;
    const Types outputs = graph_.output_types(node);
    Types inputs = graph_.input_types(node);
    const KernelRequest as_it_is{node.op->name, inputs, outputs, node.attrs};
    const Kernel& direct = *choose_kernel(*node.op, as_it_is, backend_.name()).kernel;
    if (direct.name != "direct") return false;
    inputs[0] = graph_.type(program.inputs[0]);
    const Attrs attrs = with_program(node, program);
    return direct.refuse({node.op->name, inputs, outputs, attrs}).empty();  // others take no u8
  }

  static Attrs with_program(const Node& node, const Node& program) {
    Attrs attrs = node.attrs;
    attrs.set({"program", program.attrs.text("program")});
    return attrs;
  }

  /// The program that makes a convolution's x and is gone, or null.
  const Node* program_of(const Node& node) const {
    if (node.inputs.empty()) return nullptr;
    const int maker = graph_.values[static_cast<size_t>(node.inputs[0])].node;
    return maker >= 0 && gone_.contains(&graph_.node(maker)) ? &graph_.node(maker) : nullptr;
  }

  void read(const Node& node, const Node& program) {
    std::vector<int> inputs = {rewriter_.mapped(program.inputs[0])};
    for (size_t i = 1; i < node.inputs.size(); ++i) inputs.push_back(rewriter_.mapped(node.inputs[i]));
    std::vector<int> made =
        rewriter_.add(*node.op, with_program(node, program), inputs, graph_.output_types(node), node);
    for (size_t i = 0; i < made.size(); ++i) rewriter_.map(node.outputs[i], made[i]);
  }

  const Graph& graph_;
  const Backend& backend_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> kept_;
  Rewriter rewriter_;
  std::set<const Node*> gone_;  // programs
};

}  // namespace

GraphPtr read_pixels(const Graph& graph, const Backend& backend) { return PixelReader(graph, backend).run(); }

}  // namespace wholestep
