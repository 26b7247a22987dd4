// The passes, in the order compile.cpp runs them. Graph passes take a graph and return a new one.
#pragma once
#include "wholestep/compile/compile.h"

namespace wholestep {

using GraphPtr = std::shared_ptr<Graph>;

GraphPtr simplify(const Graph& graph);  ///< folds constants, merges twins, drops what nothing reads
GraphPtr layout(const Graph& graph);    ///< moves transposes to where they cost nothing
GraphPtr widen(const Graph& graph);     ///< f16 and bf16 around ops that compute in f32
/// Whether the node is a cast of f16 or bf16 to f32.
bool is_widening(const Graph& graph, const Node& node);
GraphPtr fuse(const Graph& graph);
/// Makes sums over pixels with a convolution of which nothing else is used, in place of its result.
GraphPtr sum_pixels(const Graph& graph, const Backend& backend);
/// Has first convolutions scale the pixels they read, where their kernels can.
GraphPtr read_pixels(const Graph& graph, const Backend& backend);
/// Has chains of small convolutions made in strips of rows, by more lanes than there are samples.
GraphPtr share_rows(const Graph& graph, const Backend& backend);
/// Makes products where they are read, instead of storing them.
GraphPtr recompute(const Graph& graph, const Backend& backend);
/// Has gradients squared by the kernels that make them, where those can.
GraphPtr squares(const Graph& graph, const Backend& backend);
GraphPtr schedule(
    const Graph& graph);  ///< order of execution; updates that cannot be made in place get a copy
/// The kernel of a node of the graph, prepared.
SelectedKernel select_kernel(const Graph& graph, const Node& node, const Backend& backend);
std::vector<SelectedKernel> select_kernels(const Graph& graph, const Backend& backend);
/// Fills plan.places, plan.workspaces and plan.memory from its graph, kernels and spans.
void plan_memory(Plan& plan, bool reuse);

/// What a value was before it was reshaped.
int before_reshapes(const Graph& graph, int value);

/// Copies a graph node by node. Used by passes that replace or drop nodes.
class Rewriter {
 public:
  explicit Rewriter(const Graph& from);
  /// The new value standing for an old one; -1 where it has none yet.
  int mapped(int old_value) const { return map_[static_cast<size_t>(old_value)]; }
  std::vector<int> mapped(const std::vector<int>& old_values) const;
  void map(int old_value, int new_value) { map_[static_cast<size_t>(old_value)] = new_value; }
  void copy(const Node& node);  ///< with mapped inputs
  /// A new node with the place in the model of an old one; returns its outputs.
  std::vector<int> add(const OpDef& op, Attrs attrs, std::vector<int> inputs, const Types& types,
                       const Node& like);
  Graph& graph() { return *to_; }
  GraphPtr finish();  ///< maps updates and outputs

 private:
  const Graph& from_;
  GraphPtr to_;
  std::vector<int> map_;
};

}  // namespace wholestep
