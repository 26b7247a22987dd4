// Gradient flow: how large each layer's parameters, gradients and updates are, to see where training stalls
// or bursts.
#pragma once
#include <string>
#include <vector>

#include "wholestep/nn/module.h"

namespace wholestep::nn {

/// Euclidean norms over all parameters of a layer.
struct LayerFlow {
  std::string layer;  ///< its path, "layers.0"; "" of the model's own parameters
  double parameter = 0;
  double gradient = 0;  ///< of grad(); 0 where there is none
  double update = 0;    ///< of the change since the GradientFlow was made
};

/// Made before an eager update, read after it.
class GradientFlow {
 public:
  explicit GradientFlow(Module& model);   ///< remembers the parameters as they are
  std::vector<LayerFlow> layers() const;  ///< in the order of the model
  std::string report() const;             ///< a table, a line a layer

 private:
  struct Entry {
    std::string layer;
    Tensor parameter, before;
  };
  std::vector<Entry> entries_;
};

}  // namespace wholestep::nn
