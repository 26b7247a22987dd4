// How often a plan has an op.
#pragma once
#include <algorithm>
#include <string_view>

#include "wholestep/compile/compile.h"

namespace wholestep::test {

inline int64_t count(const Plan& plan, std::string_view op) {
  return std::ranges::count_if(plan.graph->nodes, [&](const Node& node) { return node.op->name == op; });
}

}  // namespace wholestep::test
