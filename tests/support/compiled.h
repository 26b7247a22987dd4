// The same function as one compiled step.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "wholestep/graph/tensor.h"

namespace wholestep::test {

/// Traces f on symbols like `inputs`, compiles it for test_device(), runs it on them, and expects the types
/// and bits of `eager`, its results; on a GPU, where a transpose that became a flag chooses another kernel,
/// the numbers up to rounding. `what` is said of a failure.
void expect_compiled_gives(const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& f,
                           const std::vector<Tensor>& inputs, const std::vector<Tensor>& eager,
                           const std::string& what);

}  // namespace wholestep::test
