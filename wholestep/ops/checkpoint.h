// Memory for time: a stretch of the forward pass whose values are computed again where backward() needs them
// (Chen et al., "Training deep nets with sublinear memory cost", 2016).
#pragma once
#include <functional>
#include <vector>

#include "wholestep/graph/tensor.h"

namespace wholestep {

using TensorFunction = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

/// function(inputs), of which only inputs and results stay on the tape. Gradients, of any order, are those of
/// the call itself, also by tensors that the function reaches some other way, such as a module's parameters;
/// random ops draw the same numbers again. The function runs once more in every backward pass, so what else
/// it does, assign() included, happens again. In a trace it is a plain call: what a compiled step keeps is
/// its plan's business.
std::vector<Tensor> checkpoint(TensorFunction function, const std::vector<Tensor>& inputs);
Tensor checkpoint(const std::function<Tensor(const Tensor&)>& function, const Tensor& x);

}  // namespace wholestep
