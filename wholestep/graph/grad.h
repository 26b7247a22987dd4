// Reverse-mode differentiation: one walk over recorded ops, last to first, for the eager tape and for a trace
// alike.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep {

/// An eagerly executed op that some later backward() may need.
struct TapeNode {
  ~TapeNode();
  std::shared_ptr<const OpDef> op;  ///< owned only where it was made for this node
  Attrs attrs;
  std::vector<Tensor> inputs;
  std::vector<int64_t> input_versions;
  struct Output {
    TensorType type;
    std::shared_ptr<Storage> storage;
  };
  std::vector<Output> outputs;
  int64_t sequence;  ///< order of execution
  std::string scope;
};

/// Makes concrete outputs of floating-point dtypes the results of a taped op.
void tape(std::shared_ptr<const OpDef> op, const std::vector<Tensor>& inputs, const Attrs& attrs,
          std::vector<Tensor>& outputs);

/// What is taped from now on has a sequence of at least this.
int64_t tape_position();
/// Whether ops of this thread are taped; returns whether they were.
bool set_grad_enabled(bool enabled);

/// d(output)/d(input) for each input; output has one element. Inputs that output does not depend on get
/// zeros. kUsage naming the op where a gradient rule is missing, or where a value that output was computed
/// from has been assigned since. With `create_graph`, eager gradients are themselves taped.
std::vector<Tensor> grad(const Tensor& output, std::span<const Tensor> inputs, bool create_graph = false);

/// The vector-Jacobian product: the sum over outputs of output_grads[i] times d(outputs[i])/d(input), for
/// each input. The outputs are all of one graph or all eager; kUsage where output_grads[i] is not of the type
/// of outputs[i], or undefined for an output of more than one element (of one it is 1).
std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                         std::span<const Tensor> output_grads, bool create_graph = false);

/// The same of eager outputs, along what was taped since a tape_position(): what is older is not gone
/// through.
std::vector<Tensor> grad_since(int64_t since, std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                               std::span<const Tensor> output_grads, bool create_graph);

}  // namespace wholestep
