// Layouts: data is moved as little as possible. A transpose in front of a matmul becomes the matmul's own
// flag, transposes move behind element-wise ops that alone read them, and transposes that meet there cancel.
// (Parameters stay in their files' layout: the CPU kernels read either orientation of a matrix at nearly the
// same speed, bench/gemm_bench.cpp.)
#include "wholestep/compile/passes.h"

namespace wholestep {
namespace {

const Node* producer(const Graph& graph, int value) {
  int node = graph.values[static_cast<size_t>(value)].node;
  return node < 0 ? nullptr : &graph.node(node);
}

bool is_transpose(const Node* node) {
  return node && node->op->name == "permute" && node->attrs.integers("axes") == std::vector<int64_t>{1, 0};
}

class Layouter {
 public:
  explicit Layouter(const Graph& graph) : graph_(graph), rewriter_(graph), users_(graph.users()) {}

  GraphPtr run() {
    for (const Node& node : graph_.nodes)
      if (!fold_into_matmul(node) && !move_behind(node) && !cancel(node)) rewriter_.copy(node);
    return rewriter_.finish();
  }

 private:
  const Node* made_by(int new_value) { return producer(rewriter_.graph(), new_value); }

  bool fold_into_matmul(const Node& node) {
    if (node.op->name != "matmul") return false;
    std::vector<int> in = rewriter_.mapped(node.inputs);
    Attrs attrs = node.attrs;
    bool changed = false;
    for (auto [operand, flag] : {std::pair<size_t, const char*>{0, "transpose_a"}, {1, "transpose_b"}})
      if (const Node* before = made_by(in[operand]); is_transpose(before)) {
        in[operand] = before->inputs[0];
        attrs.set({flag, !attrs.flag(flag)});
        changed = true;
      }
    if (changed)
      rewriter_.map(node.outputs[0], rewriter_.add(*node.op, attrs, in, graph_.output_types(node), node)[0]);
    return changed;
  }

  /// f(permute(x)) becomes permute(f(x)) for an element-wise f of one operand that alone reads the permuted
  /// value.
  bool move_behind(const Node& node) {
    if (!node.op->elementwise || node.inputs.size() != 1) return false;
    const Node* before = producer(graph_, node.inputs[0]);
    if (!before || before->op->name != "permute" || users_[static_cast<size_t>(node.inputs[0])].size() != 1)
      return false;
    const Node* moved = made_by(rewriter_.mapped(node.inputs[0]));  // the permute, or what it has become
    if (!moved || moved->op->name != "permute") return false;
    int source = moved->inputs[0];
    TensorType type{graph_.type(node.outputs[0]).dtype, rewriter_.graph().type(source).shape};
    Attrs axes = moved->attrs;
    int result = rewriter_.add(*node.op, node.attrs, {source}, {type}, node)[0];
    rewriter_.map(node.outputs[0],
                  rewriter_.add(*before->op, axes, {result}, graph_.output_types(node), node)[0]);
    return true;
  }

  bool cancel(const Node& node) {
    if (node.op->name != "permute") return false;
    const Node* before = made_by(rewriter_.mapped(node.inputs[0]));
    if (!before || before->op->name != "permute") return false;
    std::vector<int64_t> axes = node.attrs.integers("axes");
    bool identity = true;
    for (size_t i = 0; i < axes.size(); ++i) {
      axes[i] = before->attrs.integers("axes")[static_cast<size_t>(axes[i])];
      identity &= axes[i] == static_cast<int64_t>(i);
    }
    int source = before->inputs[0];
    rewriter_.map(node.outputs[0], identity ? source
                                            : rewriter_.add(*node.op, {{"axes", axes}}, {source},
                                                            graph_.output_types(node), node)[0]);
    return true;
  }

  const Graph& graph_;
  Rewriter rewriter_;
  std::vector<std::vector<int>> users_;
};

}  // namespace

GraphPtr layout(const Graph& graph) { return Layouter(graph).run(); }

}  // namespace wholestep
