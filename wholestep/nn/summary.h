// The table of a model's layers: what each gives, holds and costs.
#pragma once
#include <string>
#include <vector>

#include "wholestep/nn/module.h"

namespace wholestep::nn {

struct SummaryRow {
  std::string path;         ///< "layers.3"
  std::string description;  ///< "Conv2d(in_channels=1, ...)"
  Shape output;             ///< for the batch the summary was made of
  int64_t parameters = 0;   ///< elements of the layer's own parameters
  double flops = 0;         ///< of its own ops going forward
};

struct Summary {
  std::vector<SummaryRow> rows;  ///< in order of execution
  int64_t parameters = 0, parameter_bytes = 0;
  double flops = 0;
};

/// Traces the module in evaluation mode on a batch of this type; errors are those of the layers. Containers
/// have a row only where they compute something themselves.
Summary summarize(Module& module, const TensorType& batch);
inline Summary summarize(Module& module, const Shape& batch) {
  return summarize(module, {DType::f32, batch});
}
std::string to_string(const Summary& summary);  ///< a table with a line of totals

}  // namespace wholestep::nn
