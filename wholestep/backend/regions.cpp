// Places every phase of a schedule: it has to come after a region only if it needs something of that region
// that its own lane has not made itself.
#include "wholestep/backend/regions.h"

#include <unordered_map>

namespace wholestep {
namespace {

/// How and in which region a phase touched a value: by the rows of its lane, or in some other way (rows 0).
struct Touch {
  int64_t rows;
  int region;
};
using Touches = std::unordered_map<int, std::vector<Touch>>;

int64_t rows_of(const PhaseExtent& phase, uint64_t mask, size_t operand) {
  return mask >> operand & 1 ? phase.rows : 0;
}

class Builder {
 public:
  explicit Builder(Placement placement) : placement_(placement) {}

  Regions build(std::span<const ScheduledKernel> schedule) {
    for (size_t c = 0; c < schedule.size(); ++c) {
      const auto& call = dynamic_cast<const PhasedKernel&>(*schedule[c].kernel);
      int region = 0;
      for (size_t p = 0; p < call.phase_count(); ++p) {
        region = region_for(schedule[c], call.phase(p), p > 0 ? region + 1 : 0);
        add(static_cast<int>(c), static_cast<int>(p), schedule[c], call.phase(p), region);
        if (p == 0) result_.spans.push_back({region, region});
        result_.spans.back().last = region;
      }
    }
    return std::move(result_);
  }

 private:
  int region_for(const ScheduledKernel& kernel, const PhaseExtent& phase, int first) const {
    if (placement_ == Placement::kInOrder)
      first = std::max(first, static_cast<int>(result_.regions.size()) - 1);
    auto wait_for = [&](const Touches& touched, int value, int64_t rows) {
      auto found = touched.find(value);
      if (found == touched.end()) return;
      for (const Touch& touch : found->second)
        first = std::max(first, touch.region + (rows == 0 || touch.rows != rows));
    };
    for (size_t i = 0; i < kernel.inputs.size(); ++i)
      wait_for(written_, kernel.inputs[i], rows_of(phase, phase.row_inputs, i));
    for (int value : kernel.overwrites) {
      wait_for(read_, value, phase.rows);
      wait_for(written_, value, phase.rows);
    }
    return std::max(first, 0);
  }

  void add(int call, int phase_index, const ScheduledKernel& kernel, const PhaseExtent& phase, int at) {
    if (static_cast<size_t>(at) >= result_.regions.size())
      result_.regions.resize(static_cast<size_t>(at) + 1);
    Region& region = result_.regions[static_cast<size_t>(at)];
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
      read_[kernel.inputs[i]].push_back({rows_of(phase, phase.row_inputs, i), at});
    for (size_t i = 0; i < kernel.outputs.size(); ++i)
      written_[kernel.outputs[i]].push_back({rows_of(phase, phase.row_outputs, i), at});
  }

  Placement placement_;
  Regions result_;
  Touches written_, read_;
};

}  // namespace

Regions build_regions(std::span<const ScheduledKernel> schedule, Placement placement) {
  return Builder(placement).build(schedule);
}

}  // namespace wholestep
