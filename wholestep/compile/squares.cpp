// The norm of the gradients reads all of them once more, behind a barrier of its own. A kernel that has a
// part of a gradient at hand squares it on the way; what is left to add up are a few numbers a gradient.
#include <algorithm>
#include <map>

#include "wholestep/compile/passes.h"

namespace wholestep {
namespace {

/// So little is read in no time, wherever it is needed.
constexpr int64_t kLittleBytes = 4096;

class Squarer {
 public:
  Squarer(const Graph& graph, const Backend& backend) : graph_(graph), backend_(backend), rewriter_(graph) {}

  GraphPtr run() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i)
      if (graph_.nodes[i].op->name == "sum_squares") consider(graph_.nodes[i], static_cast<int>(i));
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (auto found = makers_.find(static_cast<int>(i)); found != makers_.end()) make(node, found->second);
      else if (node.op->name == "sum_squares") add_parts(node, static_cast<int>(i));
      else rewriter_.copy(node);
    }
    return rewriter_.finish();
  }

 private:
  /// A node that squares what it makes, and for whom.
  struct Maker {
    int reader;
    int64_t parts;
    int sums = -1;  ///< its new result
  };

  int maker_of(int value) const { return graph_.values[static_cast<size_t>(value)].node; }

  void consider(const Node& reader, int index) {
    int64_t bytes = 0;
    for (int value : reader.inputs) bytes += graph_.type(value).bytes();
    if (bytes <= kLittleBytes) return;
    for (int value : reader.inputs) {
      const int maker = maker_of(value);
      if (maker < 0 || makers_.contains(maker)) continue;
      const Node& node = graph_.node(maker);
      auto is_read = [&](int made) { return std::ranges::count(reader.inputs, made) == 1; };
      if (!std::ranges::all_of(node.outputs, is_read)) continue;
      if (int64_t parts = select_kernel(graph_, node, backend_).kernel->square_parts; parts > 0)
        makers_[maker] = {.reader = index, .parts = parts};
    }
  }

  void make(const Node& node, Maker& maker) {
    Attrs attrs = node.attrs;
    attrs.set({"squares", maker.parts});
    Types types = graph_.output_types(node);
    types.push_back({DType::f64, {maker.parts}});
    std::vector<int> results = rewriter_.add(*node.op, attrs, rewriter_.mapped(node.inputs), types, node);
    for (size_t i = 0; i < node.outputs.size(); ++i) rewriter_.map(node.outputs[i], results[i]);
    maker.sums = results.back();
  }

  /// The parts of a maker stand where its first result stood.
  void add_parts(const Node& node, int index) {
    std::vector<int> inputs;
    const std::vector<int64_t> sums_before =
        node.attrs.has("sums") ? node.attrs.integers("sums") : std::vector<int64_t>();
    std::vector<int64_t> sums;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const int value = node.inputs[i];
      auto found = makers_.find(maker_of(value));
      const bool squared = found != makers_.end() && found->second.reader == index;
      if (squared && graph_.node(found->first).outputs[0] != value) continue;
      if (squared || std::ranges::find(sums_before, static_cast<int64_t>(i)) != sums_before.end())
        sums.push_back(static_cast<int64_t>(inputs.size()));
      inputs.push_back(squared ? found->second.sums : rewriter_.mapped(value));
    }
    Attrs attrs = node.attrs;
    if (!sums.empty()) attrs.set({"sums", sums});
    rewriter_.map(node.outputs[0],
                  rewriter_.add(*node.op, attrs, inputs, graph_.output_types(node), node)[0]);
  }

  const Graph& graph_;
  const Backend& backend_;
  Rewriter rewriter_;
  std::map<int, Maker> makers_;  // by node
};

}  // namespace

GraphPtr squares(const Graph& graph, const Backend& backend) { return Squarer(graph, backend).run(); }

}  // namespace wholestep
