// Cuts a schedule into regions: a phase opens a new one only if it needs something of the current one that
// its own lane has not made itself.
#include "wholestep/backend/cpu/regions.h"

#include <algorithm>
#include <unordered_map>

namespace wholestep {
namespace {

/// How a phase of the open region touched a value: by the rows of its lane, or in some other way (rows 0).
struct Touch {
  int64_t rows;
};

int64_t rows_of(const CpuPhase& phase, uint64_t mask, size_t operand) {
  return mask >> operand & 1 ? phase.rows : 0;
}

class Builder {
 public:
  Regions build(std::span<const ScheduledKernel> schedule) {
    for (size_t c = 0; c < schedule.size(); ++c) {
      const auto& call = dynamic_cast<const CpuCall&>(*schedule[c].kernel);
      for (size_t p = 0; p < call.phases.size(); ++p) {
        if (p > 0 || result_.regions.empty() || must_wait(schedule[c], call.phases[p])) open_region();
        add(static_cast<int>(c), static_cast<int>(p), schedule[c], call.phases[p]);
        if (p == 0) result_.spans.push_back({last_region(), last_region()});
        result_.spans.back().last = last_region();
      }
    }
    return std::move(result_);
  }

 private:
  int last_region() const { return static_cast<int>(result_.regions.size()) - 1; }

  void open_region() {
    result_.regions.emplace_back();
    written_.clear();
    read_.clear();
  }

  bool must_wait(const ScheduledKernel& kernel, const CpuPhase& phase) const {
    auto conflicts = [&](const std::unordered_multimap<int, Touch>& touched, int value, int64_t rows) {
      auto [begin, end] = touched.equal_range(value);
      return std::any_of(begin, end,
                         [&](const auto& entry) { return rows == 0 || entry.second.rows != rows; });
    };
    for (size_t i = 0; i < kernel.inputs.size(); ++i)
      if (conflicts(written_, kernel.inputs[i], rows_of(phase, phase.row_inputs, i))) return true;
    for (int value : kernel.overwrites)
      if (conflicts(read_, value, phase.rows) || conflicts(written_, value, phase.rows)) return true;
    return false;
  }

  void add(int call, int phase_index, const ScheduledKernel& kernel, const CpuPhase& phase) {
    Region& region = result_.regions.back();
    LaneSet* lanes = nullptr;
    if (phase.rows > 0)
      for (LaneSet& set : region.lane_sets)
        if (set.rows == phase.rows) lanes = &set;
    if (!lanes) {
      region.lane_sets.push_back({.rows = phase.rows, .chunks = phase.chunks, .steps = {}});
      region.lanes += phase.chunks;
      lanes = &region.lane_sets.back();
    }
    lanes->steps.push_back({call, phase_index});
    for (size_t i = 0; i < kernel.inputs.size(); ++i)
      read_.emplace(kernel.inputs[i], Touch{rows_of(phase, phase.row_inputs, i)});
    for (size_t i = 0; i < kernel.outputs.size(); ++i)
      written_.emplace(kernel.outputs[i], Touch{rows_of(phase, phase.row_outputs, i)});
  }

  Regions result_;
  std::unordered_multimap<int, Touch> written_, read_;
};

}  // namespace

Regions build_regions(std::span<const ScheduledKernel> schedule) { return Builder().build(schedule); }

}  // namespace wholestep
