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
  const OpDef* op;
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

/// d(output)/d(input) for each input; output has one element. Inputs that output does not depend on get
/// zeros. kUsage naming the op where a gradient rule is missing, or where a value that output was computed
/// from has been assigned since. With `create_graph`, eager gradients are themselves taped.
std::vector<Tensor> grad(const Tensor& output, std::span<const Tensor> inputs, bool create_graph = false);

}  // namespace wholestep
