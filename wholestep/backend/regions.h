// Regions: the stretches of a schedule between two barriers. Phases that touch only their own rows of the
// batch share lanes, so a worker carries its samples through several layers; phases that do not depend on
// each other run side by side.
#pragma once
#include <set>
#include <unordered_map>
#include <vector>

#include "wholestep/backend/phases.h"

namespace wholestep {

/// Of the views of a schedule: the value whose bytes each one shows.
class Views {
 public:
  /// Kernels in the order of the schedule.
  void add(const ScheduledKernel& kernel) {
    if (kernel.view) shown_[kernel.outputs[0]] = shown(kernel.inputs[0]);
  }
  /// The value itself where it is no view.
  int shown(int value) const {
    auto found = shown_.find(value);
    return found == shown_.end() ? value : found->second;
  }

 private:
  std::unordered_map<int, int> shown_;
};

/// The phases one worker runs in order for one chunk number; lanes of a region are independent of each other.
struct LaneSet {
  int64_t rows = 0, chunks = 0;
  int64_t strips =
      1;  ///< lanes that share out a row, as PhaseExtent::strips; phases of whole rows each repeats
  bool alone = false;   ///< the one phase is divided as it likes, not by rows
  int64_t stretch = 0;  ///< where alone: elements of a chunk, as PhaseExtent::stretch_alone
  int beside = -1;      ///< the region's lane set whose lane of the same number a lane waits for
  struct Step {
    int call, phase;
    bool again = false;  ///< each lane does the whole of it for itself, as other lanes do
    int after = -1;      ///< where beside: the last of those lanes' steps that it needs
  };
  std::vector<Step> steps;
};

struct Region {
  std::vector<LaneSet> lane_sets;
  int64_t lanes = 0;  ///< sum of chunks
};

struct Regions {
  std::vector<Region> regions;
  std::vector<Span>
      spans;  ///< per call: first and last region it runs in; of a view, where its operand is made
};

/// The steps of a lane set that lanes beside it wait for.
std::set<int> awaited_steps(const Region& region, size_t lane_set);

/// Depends on the schedule alone, so planning and loading agree.
Regions build_regions(std::span<const ScheduledKernel> schedule, Placement placement = Placement::kInOrder);

}  // namespace wholestep
