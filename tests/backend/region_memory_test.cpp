// Lanes of a region run at the same time: in the arenas, none may write what another one reads or writes,
// unless both do the very same, or the one waits for the other.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/cuda_plan.h"
#include "support/random_program.h"
#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/compile/region_work.h"

namespace wholestep {
namespace {

/// Bytes that a step of a lane set reads or writes; the parts of different chunks are not told apart.
struct Access {
  int set, step, call;
  bool writes;
  int after;
  BufferRef at;
  int64_t bytes;
};

std::vector<Access> accesses_of(const Program& program, const Region& region) {
  std::vector<Access> all;
  for (size_t s = 0; s < region.lane_sets.size(); ++s)
    for (size_t i = 0; i < region.lane_sets[s].steps.size(); ++i) {
      const LaneSet::Step& step = region.lane_sets[s].steps[i];
      const Call& call = program.calls[static_cast<size_t>(step.call)];
      const auto& kernel = dynamic_cast<const CudaCall&>(*call.kernel.kernel);
      const CudaPhase& phase = kernel.phases[static_cast<size_t>(step.phase)];
      auto add = [&](bool writes, BufferRef at, int64_t bytes) {
        if (bytes == 0) return;
        all.push_back({static_cast<int>(s), static_cast<int>(i), step.call, writes, step.after, at, bytes});
      };
      for (size_t k = 0; k < call.inputs.size(); ++k)
        if (has_operand(phase.reads, k)) add(false, call.inputs[k], kernel.inputs[k].bytes());
      for (size_t k = 0; k < call.outputs.size(); ++k)
        if (has_operand(phase.writes, k)) add(true, call.outputs[k], kernel.outputs[k].bytes());
      bool joins = step.phase > 0 && static_cast<size_t>(step.phase) + 1 == kernel.phases.size();
      add(!joins, call.workspace, kernel.workspace_bytes);
    }
  return all;
}

/// The first two accesses of a region that meet; "" where all is well. Counts those that may.
std::string conflict(const Program& program, const Regions& regions, int& repeated, int& awaited) {
  for (size_t r = 0; r < regions.regions.size(); ++r) {
    const Region& region = regions.regions[r];
    const std::vector<Access> all = accesses_of(program, region);
    for (const Access& a : all)
      for (const Access& b : all) {
        if (a.set == b.set || !a.writes || a.at.arena != b.at.arena || a.at.offset >= b.at.offset + b.bytes ||
            b.at.offset >= a.at.offset + a.bytes)
          continue;
        auto after = [&](const Access& later, const Access& earlier) {
          return region.lane_sets[static_cast<size_t>(later.set)].beside == earlier.set &&
                 later.after >= earlier.step;
        };
        bool same = a.call == b.call, waits = after(a, b) || after(b, a);
        // Lane sets that have a step of one call repeat it, to the same bits. What only writers of the same
        // share read, each has made itself.
        bool own = std::ranges::any_of(all, [&](const Access& made) {
          return made.set == b.set && made.step < b.step && made.call == a.call && made.writes &&
                 made.at.offset == a.at.offset && made.at.arena == a.at.arena;
        });
        repeated += same || own;
        awaited += waits;
        if (!same && !waits && !(own && !b.writes))
          return fmt::format("region {}: {} of lane set {} writes what {} of {} {}", r,
                             program.calls[static_cast<size_t>(a.call)].kernel.label, a.set,
                             program.calls[static_cast<size_t>(b.call)].kernel.label, b.set,
                             b.writes ? "writes" : "reads");
      }
  }
  return "";
}

std::string conflict(const Plan& plan, int& repeated, int& awaited) {
  return conflict(make_program(plan), plan_regions(plan), repeated, awaited);
}

TEST(RegionMemory, LanesOfTheZoosStepsLeaveAloneWhatOthersWrite) {
  int repeated = 0, awaited = 0;
  for (auto [name, batch] : {std::pair("lenet", 64),
                             {"w1", 32},
                             {"w2", 64},
                             {"w3", 32},
                             {"w4", 32},
                             {"w4s", 32},
                             {"simple-cnn", 16}})
    EXPECT_EQ(conflict(test::cuda_train_plan(name, batch), repeated, awaited), "") << name;
  EXPECT_GT(repeated, 100);
  EXPECT_GT(awaited, 3);
}

TEST(RegionMemory, LanesOfRandomProgramsLeaveAloneWhatOthersWrite) {
  int repeated = 0, awaited = 0;
  std::string what;
  auto meets = [&](const test::RandomProgram& program) {
    what = conflict(make_plan(test::traced_step(program), {.backend = &cuda_planner()}), repeated, awaited);
    return !what.empty();
  };
  for (uint64_t seed = 0; seed < 400; ++seed) {
    test::RandomProgram program = test::random_program(seed, 3 + static_cast<int>(seed % 38));
    if (meets(program))
      FAIL() << what << "; seed " << seed << ", already in\n" << to_string(test::shrunk(program, meets));
  }
  EXPECT_GT(repeated, 1000);
}

}  // namespace
}  // namespace wholestep
