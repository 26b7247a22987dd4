// A plan as people and programs read it: which kernel runs each node and why not a faster one, what was
// fused, where the bytes go.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "wholestep/compile/compile.h"

namespace wholestep {

/// One call of a plan.
struct PlanRow {
  std::string layer, op, kernel;
  std::string output;              ///< types of what it makes, "f32[64, 10]"
  std::vector<std::string> fused;  ///< ops of a fused region in order of execution; a fused activation's name
  std::vector<std::string> refusals;  ///< why faster kernels were not taken
  int64_t workspace_bytes = 0;
};
std::vector<PlanRow> plan_rows(const Plan& plan);  ///< in order of execution, without ops that cost nothing

/// Memory by kind: name and bytes, in the order of MemoryReport, parts of its total_bytes().
struct MemoryKind {
  std::string name, doc;
  int64_t bytes = 0;
};
std::vector<MemoryKind> memory_kinds(const MemoryReport& memory);

std::string to_text(const Plan& plan);  ///< several lines for a terminal
nlohmann::json to_json(const Plan& plan);

}  // namespace wholestep
