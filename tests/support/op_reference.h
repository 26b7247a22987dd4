// What an op must give: plain f64 evaluations that share nothing with the kernels they judge.
#pragma once
#include <optional>
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep::test {

/// One output of an op.
struct Expected {
  std::vector<double> values;
  std::vector<double> magnitudes;  ///< sum of the absolute values of the terms behind each value
};

/// From, in this order: a naive evaluation written here; for element-wise ops their f64 instance; for ops
/// with several kernels the last of them, the plain reference, in f64. Nothing where there is none of these.
std::optional<std::vector<Expected>> expected_results(const OpDef& op, const std::vector<Tensor>& inputs,
                                                      const Attrs& attrs);

/// 4 eps sqrt(K) sum|terms| + 1 ulp, with K the op's operations per result.
double error_bound(const OpDef& op, const std::vector<Tensor>& inputs, const Types& outputs,
                   const Attrs& attrs, size_t output, const Expected& expected, size_t element);

}  // namespace wholestep::test
