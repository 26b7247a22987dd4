// Runs a traced graph node by node through the eager interpreter: what compiled steps are compared with.
#pragma once
#include <map>
#include <string>

#include "wholestep/graph/graph.h"

namespace wholestep::test {

struct GraphRun {
  std::map<std::string, Tensor> outputs;
  std::map<std::string, Tensor> updates;  ///< by the target's name; nothing is written back
};

/// `batch` gives the batch inputs by name; other inputs have the values of their bindings.
GraphRun run_eagerly(const Graph& graph, const std::map<std::string, Tensor>& batch);

}  // namespace wholestep::test
