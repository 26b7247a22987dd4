// What a lane has in shared memory: kept values, fetched operands, and that nothing is overwritten while
// somebody still needs it.
#include "wholestep/backend/cuda/lane_memory.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "support/cuda_device.h"
#include "support/cuda_plan.h"
#include "wholestep/backend/cuda/region_source.h"
#include "wholestep/compile/region_work.h"

namespace wholestep {
namespace {

constexpr int64_t kRows = 32, kElsewhere = LaneMemory::kElsewhere;
const TensorType kSmall{DType::f32, {kRows, 64}}, kWeight{DType::f32, {64, 64}};

/// A phase over rows that reads `inputs` and makes `output`: bit i of `by_rows` says that it takes input i by
/// rows.
Call row_call(std::vector<int> inputs, uint64_t by_rows, int output, int64_t scratch = 0,
              int64_t together = 1) {
  auto kernel = std::make_shared<CudaCall>();
  kernel->phases.push_back(cuda_row_phase(kRows, by_rows, 1, "run", scratch));
  kernel->phases.back().together = together;
  Call call;
  for (size_t i = 0; i < inputs.size(); ++i) {
    kernel->inputs.push_back(by_rows >> i & 1 ? kSmall : kWeight);
    call.inputs.push_back({0, inputs[i] * 65536});
  }
  kernel->outputs.push_back(kSmall);
  call.outputs.push_back({0, output * 65536});
  call.kernel = {
      .label = "", .kernel = kernel, .inputs = std::move(inputs), .outputs = {output}, .overwrites = {}};
  return call;
}

Region lanes_of(const Program& program) {
  LaneSet set{.rows = kRows, .chunks = kRows, .steps = {}};
  for (int i = 0; i < static_cast<int>(program.calls.size()); ++i) set.steps.push_back({i, 0});
  return {.lane_sets = {set}, .lanes = kRows};
}

const std::optional<std::vector<Written>> kAnythingBefore;
constexpr int64_t kRoom = 160 * 1024;

TEST(LaneMemory, KeepsWhatALaneMakesForItselfAndStoresWhatOthersRead) {
  // Value 1 is read by the lane alone, 2 is a result of the step, 3 is read by nobody here.
  Program program{.calls = {row_call({0}, 1, 1), row_call({1}, 1, 2), row_call({2}, 1, 3)}, .outputs = {2}};
  LaneMemory memory = plan_lane_memory(program, lanes_of(program), 0, kAnythingBefore, kRoom);
  EXPECT_EQ(memory.steps[0].inputs[0], kElsewhere);
  EXPECT_NE(memory.steps[0].outputs[0], kElsewhere);
  EXPECT_EQ(memory.steps[0].outputs[0], memory.steps[1].inputs[0]);
  EXPECT_FALSE(memory.steps[0].stored[0]);
  EXPECT_NE(memory.steps[1].outputs[0], kElsewhere);
  EXPECT_TRUE(memory.steps[1].stored[0]);
  EXPECT_EQ(memory.steps[2].outputs[0], kElsewhere);
  EXPECT_EQ(memory.shared_bytes, 2 * 256) << "two rows of 64 floats";
}

TEST(LaneMemory, FetchesAWeightWhileThePhaseBeforeRuns) {
  Program program{.calls = {row_call({0, 9}, 1, 1), row_call({1, 8}, 1, 2)}, .outputs = {2}};
  LaneMemory memory = plan_lane_memory(program, lanes_of(program), 0, kAnythingBefore, kRoom);
  EXPECT_EQ(memory.steps[0].inputs[1], kElsewhere) << "there is no time before the first phase";
  ASSERT_EQ(memory.fetches.size(), 1u);
  EXPECT_EQ(memory.fetches[0].from.offset, 8 * 65536);
  EXPECT_EQ(memory.fetches[0].bytes, 64 * 64 * 4);
  EXPECT_FALSE(memory.fetches[0].early);
  EXPECT_EQ(memory.steps[1].inputs[1], memory.fetches[0].to);
  EXPECT_EQ(memory.steps[1].fetches, 1);
}

TEST(LaneMemory, FetchesBeforeTheStartWhatTheRegionBeforeDoesNotWrite) {
  Program program{.calls = {row_call({0, 9}, 1, 1), row_call({1, 8}, 1, 2)}, .outputs = {2}};
  LaneMemory memory = plan_lane_memory(program, lanes_of(program), 0,
                                       std::vector<Written>{{{0, 0}, 4}, {{0, 8 * 65536}, 64}}, kRoom);
  ASSERT_EQ(memory.fetches.size(), 2u);
  EXPECT_TRUE(memory.fetches[0].early);
  EXPECT_EQ(memory.fetches[0].from.offset, 9 * 65536);
  EXPECT_EQ(memory.steps[0].inputs[1], memory.fetches[0].to);
  EXPECT_EQ(memory.steps[0].fetches, 1);
  EXPECT_FALSE(memory.fetches[1].early) << "the region before writes value 8";
  EXPECT_EQ(memory.steps[0].inputs[0], kElsewhere) << "and value 0, which is needed at once";
}

TEST(LaneMemory, FetchesALanesOwnStretchOfElements) {
  // Two blocks of 1024 elements each over [32, 64]; the flag is the same for both.
  Program program{.calls = {row_call({0, 9}, 1, 1)}, .outputs = {1}};
  LaneSet set{.rows = 0, .chunks = 2, .alone = true, .stretch = 1024, .steps = {{0, 0}}};
  LaneMemory memory = plan_lane_memory(program, {.lane_sets = {set}, .lanes = set.chunks}, 0,
                                       std::vector<Written>{{{0, 65536}, 8192}}, kRoom);
  ASSERT_EQ(memory.fetches.size(), 2u);
  EXPECT_TRUE(memory.fetches[0].by_lane);
  EXPECT_EQ(memory.fetches[0].bytes, 4096);
  EXPECT_FALSE(memory.fetches[1].by_lane) << "the weight has another size than the result";
  EXPECT_EQ(memory.fetches[1].bytes, 64 * 64 * 4);
  EXPECT_EQ(memory.steps[0].inputs[0], memory.fetches[0].to);
  EXPECT_EQ(memory.steps[0].outputs[0], kElsewhere);
  // Its second half is written by the region before.
  memory = plan_lane_memory(program, {.lane_sets = {set}, .lanes = set.chunks}, 0,
                            std::vector<Written>{{{0, 4096}, 4}}, kRoom);
  ASSERT_EQ(memory.fetches.size(), 1u);
  EXPECT_EQ(memory.fetches[0].from.offset, 9 * 65536);
}

TEST(LaneMemory, StepsThatNeedNothingOfTheRegionBeforeRunWhileItDoes) {
  // Value 0 becomes 1, 1 and the weight 9 become 2; others read 1.
  Program program{.calls = {row_call({0}, 1, 1), row_call({1, 9}, 1, 2)}, .outputs = {1, 2}};
  auto early = [&](std::optional<std::vector<Written>> before) {
    return plan_lane_memory(program, lanes_of(program), 0, before, kRoom);
  };
  LaneMemory nothing_before = early(std::vector<Written>());
  EXPECT_EQ(nothing_before.early_steps, 2u);
  for (const LaneMemory::Step& step : nothing_before.steps) {
    EXPECT_NE(step.outputs[0], kElsewhere);
    EXPECT_TRUE(step.stored[0]) << "it is copied when the region before is over";
  }
  EXPECT_NE(nothing_before.steps[0].outputs[0], nothing_before.steps[1].outputs[0])
      << "which is after both have been made";
  LaneMemory weight_before = early(std::vector<Written>{{{0, 9 * 65536}, 4}});
  EXPECT_EQ(weight_before.early_steps, 1u) << "the weight is written by the region before";
  EXPECT_EQ(early(std::vector<Written>{{{0, 0}, 4}}).early_steps, 0u) << "and here what the first one reads";
  EXPECT_EQ(early(kAnythingBefore).early_steps, 0u);
  program.outputs = {1};
  EXPECT_EQ(early(std::vector<Written>()).early_steps, 1u) << "nobody reads 2, so it has no place here";
}

TEST(LaneMemory, LeavesElsewhereWhatDoesNotFitOrMustLieInMemory) {
  Program program{.calls = {row_call({0}, 1, 1, 1024), row_call({1}, 1, 2, 2048)}, .outputs = {2}};
  EXPECT_EQ(plan_lane_memory(program, lanes_of(program), 0, kAnythingBefore, 2048 + 256).steps[0].outputs[0],
            2048)
      << "above the scratch of both phases it lives through";
  LaneMemory tight = plan_lane_memory(program, lanes_of(program), 0, kAnythingBefore, 2048 + 255);
  EXPECT_EQ(tight.steps[0].outputs[0], kElsewhere);
  EXPECT_EQ(tight.shared_bytes, 2048);
  auto& reader = const_cast<CudaCall&>(dynamic_cast<const CudaCall&>(*program.calls[1].kernel.kernel));
  reader.phases[0].in_memory = true;
  EXPECT_EQ(plan_lane_memory(program, lanes_of(program), 0, kAnythingBefore, kRoom).steps[0].outputs[0],
            kElsewhere);
}

TEST(LaneMemory, WhatOtherLanesMakeForThemselvesIsNotStoredForThem) {
  // Both lane sets make 1; one goes on with 2, the other with 3.
  Program program{.calls = {row_call({0}, 1, 1), row_call({1}, 1, 2), row_call({1}, 1, 3)},
                  .outputs = {2, 3}};
  const LaneSet one{.rows = kRows, .chunks = kRows, .steps = {{0, 0}, {1, 0}}};
  LaneSet other{.rows = kRows, .chunks = kRows, .steps = {{0, 0}, {2, 0}}};
  for (size_t set : {size_t{0}, size_t{1}}) {
    const LaneMemory memory = plan_lane_memory(program, {.lane_sets = {one, other}, .lanes = 2 * kRows}, set,
                                               kAnythingBefore, kRoom);
    EXPECT_NE(memory.steps[0].outputs[0], kElsewhere);
    EXPECT_FALSE(memory.steps[0].stored[0]);
    EXPECT_EQ(memory.steps[1].inputs[0], memory.steps[0].outputs[0]);
  }
  // A lane beside it waits for what is stored.
  other.beside = 0, other.steps = {{2, 0}};
  EXPECT_TRUE(
      plan_lane_memory(program, {.lane_sets = {one, other}, .lanes = 2 * kRows}, 0, kAnythingBefore, kRoom)
          .steps[0]
          .stored[0]);
  EXPECT_EQ(
      plan_lane_memory(program, {.lane_sets = {one, other}, .lanes = 2 * kRows}, 1, kAnythingBefore, kRoom)
          .steps[0]
          .inputs[0],
      kElsewhere)
      << "which is not fetched before it is there";
}

TEST(LaneMemory, AViewIsTheValueItShows) {
  Program program{.calls = {row_call({0}, 1, 1), row_call({1}, 1, 2), row_call({2}, 1, 3)}, .outputs = {3}};
  program.calls[1].kernel.view = true;
  program.calls[1].outputs = program.calls[1].inputs;
  LaneSet set{.rows = kRows, .chunks = kRows, .steps = {{0, 0}, {2, 0}}};
  LaneMemory memory =
      plan_lane_memory(program, {.lane_sets = {set}, .lanes = set.chunks}, 0, kAnythingBefore, kRoom);
  EXPECT_NE(memory.steps[0].outputs[0], kElsewhere);
  EXPECT_EQ(memory.steps[0].outputs[0], memory.steps[1].inputs[0]);
}

/// Runs a lane in thought: every byte of shared memory remembers whose it is.
void expect_whole(const Program& program, const LaneSet& set, const LaneMemory& memory) {
  constexpr int kScratch = -1;
  struct Held {
    int64_t end;
    int value;
  };
  std::map<int64_t, Held> held;
  auto write = [&](int64_t begin, int64_t bytes, int value) {
    ASSERT_LE(begin + bytes, memory.shared_bytes);
    std::erase_if(held, [&](const auto& h) { return h.first < begin + bytes && begin < h.second.end; });
    held[begin] = {begin + bytes, value};
  };
  std::map<int, int> roots;
  for (const Call& call : program.calls)
    if (call.kernel.view) {
      int from = call.kernel.inputs[0];
      roots[call.kernel.outputs[0]] = roots.contains(from) ? roots[from] : from;
    }
  auto root = [&](int value) { return roots.contains(value) ? roots[value] : value; };
  std::map<int64_t, int> fetched;  // place to value
  for (size_t s = 0; s < set.steps.size(); ++s) {
    const Call& call = program.calls[static_cast<size_t>(set.steps[s].call)];
    for (size_t i = 0; i < call.inputs.size(); ++i)
      for (const LaneMemory::Fetch& fetch : memory.fetches)
        if (fetch.to == memory.steps[s].inputs[i] && fetch.from.arena == call.inputs[i].arena &&
            fetch.from.offset == call.inputs[i].offset)
          fetched[fetch.to] = root(call.kernel.inputs[i]);
  }
  for (const LaneMemory::Fetch& fetch : memory.fetches) write(fetch.to, fetch.bytes, fetched.at(fetch.to));
  int arrived = 0;
  for (size_t s = 0; s < set.steps.size(); ++s) {
    const Call& call = program.calls[static_cast<size_t>(set.steps[s].call)];
    const auto& kernel = dynamic_cast<const CudaCall&>(*call.kernel.kernel);
    const LaneMemory::Step& step = memory.steps[s];
    arrived = std::max(arrived, step.fetches);
    const CudaPhase& phase = kernel.phases[static_cast<size_t>(set.steps[s].phase)];
    if (phase.shared_bytes > 0) write(0, phase.shared_bytes, kScratch);
    for (size_t i = 0; i < call.outputs.size(); ++i)
      if (step.outputs[i] != kElsewhere)
        write(step.outputs[i], lane_bytes(kernel.outputs[i], set, phase), root(call.kernel.outputs[i]));
    // Operands, and what the step before left to be stored, must have survived all this.
    auto expect_held = [&](int64_t place, int value, const std::string& label) {
      auto at = held.find(place);
      ASSERT_TRUE(at != held.end() && at->second.value == value) << label << ", step " << s;
    };
    for (size_t i = 0; i < call.inputs.size(); ++i)
      if (step.inputs[i] != kElsewhere) {
        expect_held(step.inputs[i], root(call.kernel.inputs[i]), call.kernel.label);
        for (size_t f = 0; f < memory.fetches.size(); ++f)
          if (memory.fetches[f].to == step.inputs[i] &&
              fetched.at(step.inputs[i]) == root(call.kernel.inputs[i])) {
            EXPECT_LT(f, static_cast<size_t>(arrived))
                << call.kernel.label << " does not wait for its operand";
          }
      }
    // What early steps have made is stored behind the last of them, while the next one runs.
    const size_t early = memory.early_steps;
    for (size_t e = 0; (s + 1 == early || s == early) && e < early; ++e) {
      const Call& made = program.calls[static_cast<size_t>(set.steps[e].call)];
      for (size_t i = 0; i < made.outputs.size(); ++i)
        if (memory.steps[e].stored[i])
          expect_held(memory.steps[e].outputs[i], root(made.kernel.outputs[i]), made.kernel.label);
    }
    if (s + 1 == set.steps.size() && s >= early) {
      EXPECT_EQ(std::ranges::count(step.stored, 0), std::ssize(step.stored))
          << "nothing is stored behind the last step";
    }
    if (s > early) {
      const Call& before = program.calls[static_cast<size_t>(set.steps[s - 1].call)];
      for (size_t i = 0; i < before.outputs.size(); ++i)
        if (memory.steps[s - 1].stored[i])
          expect_held(memory.steps[s - 1].outputs[i], root(before.kernel.outputs[i]), before.kernel.label);
    }
  }
}

TEST(LaneMemory, NothingIsOverwrittenTooEarlyInTheNetworksOfTheZoo) {
  int kept = 0, fetched = 0;
  for (auto [name, batch] :
       {std::pair("lenet", 64), {"w1", 32}, {"w3", 32}, {"w4s", 32}, {"simple-cnn", 16}}) {
    Plan plan = test::cuda_train_plan(name, batch);
    Program program = make_program(plan);
    for (const Region& region : plan_regions(plan).regions)
      for (size_t set = 0; set < region.lane_sets.size(); ++set)
        for (int64_t budget : {int64_t{8} * 1024, int64_t{48} * 1024, kRoom})
          for (const auto& before : {kAnythingBefore, std::optional(std::vector<Written>())}) {
            LaneMemory memory = plan_lane_memory(program, region, set, before, budget);
            expect_whole(program, region.lane_sets[set], memory);
            fetched += static_cast<int>(memory.fetches.size());
            for (const LaneMemory::Step& s : memory.steps)
              kept += static_cast<int>(s.outputs.size() - std::ranges::count(s.outputs, kElsewhere));
          }
  }
  EXPECT_GT(kept, 100);
  EXPECT_GT(fetched, 100);
}

/// Stores that a kernel's text leaves to the copy engine, if it waits for each in time.
int awaited_stores(const std::string& text) {
  bool ready = false, behind_barrier = false, reading = false, under_way = false;
  int stores = 0, barriers = 0;  // behind the last store
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    auto calls = [&](const char* name) { return line.starts_with(std::string("    ") + name); };
    if (calls("const Lane lane")) under_way = false;
    if (calls("ready_to_store()")) ready = true;
    if (calls("store_at_once<")) {
      EXPECT_TRUE(behind_barrier) << line;
      reading = under_way = true;
      barriers = 0, ++stores;
    }
    if (calls("stores_read()") || calls("stores_done()")) reading = false;
    if (calls("stores_done()")) under_way = false;
    if (calls("__syncthreads()")) {
      behind_barrier = std::exchange(ready, false);
      // What early steps made is stored in front of the one that begins the next.
      EXPECT_LT(reading ? barriers++ : 0, 1) << "shared memory is read where the next step may write";
    }
    EXPECT_FALSE(calls("tell(") && under_way) << "the lane beside is told too early";
    EXPECT_FALSE(calls("return;") && reading) << "a block ends while its shared memory is read";
  }
  return stores;
}

TEST(LaneMemory, WhatTheCopyEngineReadsIsAwaited) {
  auto text_of = [](const char* name, int64_t batch) {
    Plan plan = test::cuda_train_plan(name, batch);
    return write_regions(make_program(plan), plan_regions(plan)).text;
  };
  EXPECT_GT(awaited_stores(text_of("w4s", 70)), 1);
  EXPECT_EQ(awaited_stores(text_of("w4s", 32)), 0) << "strips are stored as they are made";
  for (auto [name, batch] : {std::pair("lenet", 64), {"w1", 32}, {"w3", 32}, {"w4", 32}, {"simple-cnn", 16}})
    awaited_stores(text_of(name, batch));
  const test::PlansFor older(80);
  EXPECT_EQ(awaited_stores(text_of("w4s", 32)), 0) << "sm_80 has no such engine";
}

TEST(CudaRegions, HaveRegistersForAsManyBlocksTogetherAsTheMostOfThemAskFor) {
  auto text_of = [](int64_t first, int64_t second) {
    Program program{.calls = {row_call({0}, 1, 1, 0, 2), row_call({2}, 1, 3)}, .outputs = {1, 3}};
    Region region{.lane_sets = {{.rows = 0, .chunks = first, .steps = {{0, 0}}},
                                {.rows = 0, .chunks = second, .steps = {{1, 0}}}},
                  .lanes = first + second};
    Regions regions;
    regions.regions.push_back(region);
    return write_regions(program, regions).text;
  };
  EXPECT_NE(text_of(40, 30).find("__launch_bounds__(kThreads, 2)"), std::string::npos);
  EXPECT_NE(text_of(30, 40).find("__launch_bounds__(kThreads)"), std::string::npos);
}

}  // namespace
}  // namespace wholestep
