// What the regions of a plan have to move and to compute, whoever runs them: what their times are held
// against.
#pragma once
#include "wholestep/backend/regions.h"
#include "wholestep/compile/compile.h"

namespace wholestep {

/// What a region cannot do without: bytes from and to memory, each value it needs from before read once and
/// each that is needed later written once, and operations.
struct RegionWork {
  double bytes = 0, flops = 0;
};

/// The regions the plan's backend runs.
Regions plan_regions(const Plan& plan);
/// One a region.
std::vector<RegionWork> region_work(const Plan& plan);

}  // namespace wholestep
