// Graph: a traced computation as nodes in topological order over typed values, with its inputs, its outputs,
// and the updates of state that make it a training step.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep {

struct Value {
  TensorType type;
  int node = -1;   ///< the node that makes it; -1 for an input
  int output = 0;  ///< which of its results
};

struct Node {
  const OpDef* op = nullptr;
  Attrs attrs;
  std::vector<int> inputs, outputs;  ///< values
  std::string scope, source;         ///< layer path and the user's line
  bool differentiable = true;        ///< recorded outside NoGrad
  int64_t turn = 0;                  ///< of two nodes that could run, that of the earlier turn does
};

enum class InputKind { kBatch, kParameter, kState, kConstant };
std::string_view name(InputKind kind);  ///< "batch", "parameter", "state", "constant"

struct GraphInput {
  int value = -1;
  InputKind kind = InputKind::kBatch;
  std::string name;
  Tensor binding;  ///< the concrete tensor behind a parameter, state or constant
};

/// At the end of the step the input `target` (a parameter or state) holds `value`.
struct Update {
  int target = -1, value = -1;
};

struct GraphOutput {
  std::string name;
  int value = -1;
};

class Graph : public std::enable_shared_from_this<Graph> {
 public:
  std::vector<Node> nodes;
  std::vector<Value> values;
  std::vector<GraphInput> inputs;
  std::vector<Update> updates;
  std::vector<GraphOutput> outputs;
  int64_t turn = 0;  ///< of the nodes that are added: what is to be done in turns shares memory

  // Building.
  Tensor add_input(InputKind kind, std::string name, const TensorType& type, Tensor binding = {});
  void add_output(std::string name, const Tensor& tensor);
  /// Appends a node whose operand types have been checked; returns its output values.
  std::vector<int> add_node(const OpDef& op, Attrs attrs, std::vector<int> inputs, const Types& output_types);
  Tensor tensor(int value);  ///< a symbolic handle
  int value_of(
      const Tensor& tensor);  ///< of a symbolic handle, or of a concrete tensor, captured on first use
  void record_update(const Tensor& target, const Tensor& value);

  // Reading.
  const TensorType& type(int value) const { return values[static_cast<size_t>(value)].type; }
  const Node& node(int index) const { return nodes[static_cast<size_t>(index)]; }
  const GraphInput* find_input(int value) const;
  std::vector<TensorType> input_types(const Node& node) const;
  std::vector<TensorType> output_types(const Node& node) const;
  std::vector<std::vector<int>> users()
      const;                       ///< per value, the nodes that read it (updates and outputs not counted)
  std::vector<bool> kept() const;  ///< per value, whether an output or an update reads it

 private:
  std::unordered_map<const Storage*, int> captured_;  // storage of a concrete tensor -> its input value
  std::unordered_map<const Storage*, int> current_;   // the same after updates
};

/// Throws kFailure unless every value exists and is made once, before it is read, types match what the ops
/// infer, and updates write parameters or states of their type.
void verify(const Graph& graph);
std::string to_string(const Graph& graph);  ///< one line a node: %7 = relu(%6) : f32[64, 120]  # layers.1
std::string to_dot(const Graph& graph);     ///< Graphviz

/// While alive, parameters and states used on this thread become inputs of `graph` instead of being read.
class Trace {
 public:
  explicit Trace(std::shared_ptr<Graph> graph);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
  static Graph* current();

 private:
  std::shared_ptr<Graph> before_;
};

}  // namespace wholestep
