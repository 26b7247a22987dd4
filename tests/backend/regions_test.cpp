// Where a schedule waits: phases of one row split run through without a barrier, what depends on all rows
// waits, what depends on nothing runs beside.
#include "wholestep/backend/regions.h"

#include <gtest/gtest.h>

#include "wholestep/backend/cpu/call.h"

namespace wholestep {
namespace {

constexpr int64_t kRows = 64;

/// A call of one phase over rows; bits say which operands it touches by its own rows only.
std::shared_ptr<const PreparedKernel> over_rows(int64_t rows, uint64_t row_inputs, uint64_t row_outputs) {
  return row_call(rows, row_inputs, row_outputs, [](const CpuArgs&, Range) {});
}

ScheduledKernel call(std::shared_ptr<const PreparedKernel> kernel, std::vector<int> inputs,
                     std::vector<int> outputs, std::vector<int> overwrites = {}) {
  return {.label = "",
          .kernel = std::move(kernel),
          .inputs = inputs,
          .outputs = outputs,
          .overwrites = overwrites};
}

/// A call of one phase of this extent.
struct ExtentOnly final : PhasedKernel {
  explicit ExtentOnly(PhaseExtent of) : extent(of) {}
  size_t phase_count() const override { return 1; }
  PhaseExtent phase(size_t) const override { return extent; }
  PhaseExtent extent;
};
std::shared_ptr<const PreparedKernel> of_extent(PhaseExtent extent) {
  return std::make_shared<ExtentOnly>(extent);
}

/// First and last region of each call.
std::vector<std::pair<int, int>> spans_of(const std::vector<ScheduledKernel>& schedule) {
  std::vector<std::pair<int, int>> spans;
  for (const Span& span : build_regions(schedule).spans) spans.emplace_back(span.first, span.last);
  return spans;
}
using Spans = std::vector<std::pair<int, int>>;

TEST(Regions, PhasesOfTheSameRowsShareLanesWithoutABarrier) {
  Regions regions = build_regions(std::vector{call(over_rows(kRows, 1, 1), {0}, {1}),
                                              call(over_rows(kRows, 1, 1), {1}, {2}),
                                              call(over_rows(kRows, 1, 1), {2}, {3})});
  ASSERT_EQ(regions.regions.size(), 1u);
  ASSERT_EQ(regions.regions[0].lane_sets.size(), 1u);
  EXPECT_EQ(regions.regions[0].lane_sets[0].steps.size(), 3u);
  EXPECT_EQ(regions.regions[0].lanes, Split(kRows).chunks());
}

TEST(Regions, AReaderOfAllRowsWaitsForThem) {
  EXPECT_EQ(spans_of({call(over_rows(kRows, 1, 1), {0}, {1}), call(over_rows(kRows, 0, 1), {1}, {2})}),
            (Spans{{0, 0}, {1, 1}}));
  EXPECT_EQ(spans_of({call(over_rows(kRows, 1, 0), {0}, {1}), call(over_rows(kRows, 1, 1), {1}, {2})}),
            (Spans{{0, 0}, {1, 1}}))
      << "rows of a result that was not written by rows";
}

TEST(Regions, RowsOfAnotherExtentAreOtherRows) {
  EXPECT_EQ(spans_of({call(over_rows(kRows, 1, 1), {0}, {1}), call(over_rows(kRows / 2, 1, 1), {1}, {2})}),
            (Spans{{0, 0}, {1, 1}}));
}

TEST(Regions, CallsOfALaterTurnDoNotRunBesideEarlierOnes) {
  for (Placement placement : {Placement::kInOrder, Placement::kFewest}) {
    std::vector<ScheduledKernel> calls;
    for (int i = 0; i < 4; ++i) calls.push_back(call(over_rows(kRows, 1, 1), {i}, {10 + i}));
    EXPECT_EQ(build_regions(calls, placement).regions.size(), 1u);
    for (size_t i = 2; i < 4; ++i) calls[i].turn = static_cast<int64_t>(i) - 1;  // turns 0, 0, 1, 2
    std::vector<int> regions;
    for (const Span& span : build_regions(calls, placement).spans) regions.push_back(span.first);
    EXPECT_EQ(regions, (std::vector<int>{0, 0, 1, 2}));
  }
}

TEST(Regions, WhatDependsOnNothingRunsBesideTheRest) {
  Regions regions = build_regions(std::vector{
      call(over_rows(kRows, 1, 1), {0}, {1}), call(over_rows(24, 1, 1), {2}, {3}),
      call(split_call(1000, [](const CpuArgs&, Range) {}), {4}, {5}), call(over_rows(24, 1, 1), {3}, {6})});
  ASSERT_EQ(regions.regions.size(), 1u);
  EXPECT_EQ(regions.regions[0].lane_sets.size(), 3u);
  EXPECT_EQ(regions.regions[0].lanes, Split(kRows).chunks() + Split(24).chunks() + Split(1000).chunks());
}

TEST(Regions, AnUpdateInPlaceWaitsForTheOtherReadersOfTheOldValue) {
  // Value 0 is a parameter: call 0 reads all of it, call 1 writes its update over it.
  auto reader = call(over_rows(kRows, 0, 1), {0}, {1});
  EXPECT_EQ(spans_of({reader, call(over_rows(10, 3, 1), {0, 2}, {3}, {0})}), (Spans{{0, 0}, {1, 1}}));
  EXPECT_EQ(spans_of({reader, call(over_rows(10, 3, 1), {0, 2}, {3})}), (Spans{{0, 0}, {0, 0}}));
}

TEST(Regions, PhasesOfOneCallWaitForEachOtherAndSpanTheirRegions) {
  auto two_phases = std::make_shared<CpuCall>();
  for (int phase = 0; phase < 2; ++phase)
    two_phases->phases.push_back({.chunks = 4, .run = [](const CpuArgs&, int64_t) {}});
  EXPECT_EQ(spans_of({call(over_rows(kRows, 1, 1), {0}, {1}), call(two_phases, {2}, {3}),
                      call(over_rows(kRows, 1, 1), {1}, {4}), call(over_rows(kRows, 1, 1), {3}, {5})}),
            (Spans{{0, 0}, {0, 1}, {1, 1}, {2, 2}}));
}

Spans fewest(const std::vector<ScheduledKernel>& schedule) {
  Spans spans;
  for (const Span& span : build_regions(schedule, Placement::kFewest).spans)
    spans.emplace_back(span.first, span.last);
  return spans;
}

/// Labels of a region's lane sets: "+" before what each lane makes for itself, "<n" behind what waits for
/// step n.
std::vector<std::string> chains(const std::vector<ScheduledKernel>& schedule, const Region& region) {
  std::vector<std::string> all;
  for (const LaneSet& set : region.lane_sets) {
    all.emplace_back();
    for (const LaneSet::Step& step : set.steps)
      all.back() += (step.again ? "+" : "") + schedule[static_cast<size_t>(step.call)].label +
                    (step.after >= 0 ? "<" + std::to_string(step.after) : "");
  }
  return all;
}
ScheduledKernel labelled(std::string label, ScheduledKernel kernel) {
  kernel.label = std::move(label);
  return kernel;
}
using Labels = std::vector<std::string>;

TEST(Regions, FewestLetsReadersMakeWhatIsBriefThemselves) {
  // a by rows; norm and flag of all of it in one chunk each; two updates that need the flag, one the norm.
  auto brief = of_extent({.chunks = 1, .brief = true}), update = of_extent({.chunks = 20});
  std::vector<ScheduledKernel> schedule = {labelled("a", call(over_rows(kRows, 1, 1), {0}, {1})),
                                           labelled("n", call(brief, {1}, {2})),
                                           labelled("f", call(brief, {2}, {3})),
                                           labelled("u", call(update, {3, 10}, {11}, {10})),
                                           labelled("v", call(update, {3, 12}, {13}, {12})),
                                           labelled("w", call(update, {2, 14}, {15}, {14}))};
  Regions regions = build_regions(schedule, Placement::kFewest);
  ASSERT_EQ(regions.regions.size(), 2u);
  EXPECT_EQ(chains(schedule, regions.regions[1]), (Labels{"+n+fu", "+n+fv", "+nw"}));
  EXPECT_EQ(regions.regions[1].lanes, 60);
  for (size_t c = 0; c < schedule.size(); ++c) {
    EXPECT_EQ(regions.spans[c].first, c == 0 ? 0 : 1);
    EXPECT_EQ(regions.spans[c].repeated, c == 1 || c == 2);
  }
  EXPECT_EQ(build_regions(schedule).regions.size(), 3u) << "in order";
  // Not where the reader writes over what is read, nor where it has more lanes than run at once.
  schedule[3] = labelled("u", call(update, {3, 1}, {11}, {1}));
  EXPECT_EQ(build_regions(schedule, Placement::kFewest).regions.size(), 3u);
  schedule[3] = labelled("u", call(of_extent({.chunks = 1000}), {3, 10}, {11}, {10}));
  EXPECT_EQ(build_regions(schedule, Placement::kFewest).regions.size(), 3u);
}

TEST(Regions, LanesWithStripsMakeTheRowsThatOnlyTheyNeed) {
  // g and s make rows of what p points to, which a moves on; c and d have four strips of each, e all of d's.
  auto rows = of_extent({.chunks = 32, .rows = 32, .row_inputs = 1, .row_outputs = 1}),
       strips = of_extent({.chunks = 128, .rows = 32, .row_inputs = 1, .row_outputs = 1, .strips = 4});
  std::vector<ScheduledKernel> schedule = {
      labelled("g",
               call(of_extent({.chunks = 32, .rows = 32, .row_inputs = 2, .row_outputs = 1}), {0, 10}, {1})),
      labelled("a", call(of_extent({.chunks = 1}), {0}, {20}, {0})),
      labelled("s", call(rows, {1}, {2})),
      labelled("c", call(strips, {2}, {3})),
      labelled("d", call(strips, {3}, {4})),
      labelled("e", call(of_extent({.chunks = 7}), {4}, {5}))};
  const Regions regions = build_regions(schedule, Placement::kFewest);
  ASSERT_EQ(regions.regions.size(), 2u);
  EXPECT_EQ(chains(schedule, regions.regions[0]), Labels{"gscd"});
  EXPECT_EQ(chains(schedule, regions.regions[1]), (Labels{"e", "a"})) << "each lane reads the place first";
  const LaneSet& lanes = regions.regions[0].lane_sets[0];
  EXPECT_EQ(lanes.rows, 32);
  EXPECT_EQ(lanes.chunks, 128);
  EXPECT_EQ(lanes.strips, 4);
  EXPECT_EQ(regions.spans[1].last, 1);
  EXPECT_TRUE(regions.spans[0].repeated && regions.spans[2].repeated && !regions.spans[3].repeated);
  // Where all of those rows are needed, too, they are waited for.
  schedule.insert(schedule.end() - 1, labelled("r", call(of_extent({.chunks = 7}), {2}, {6})));
  schedule.back().inputs.push_back(6);
  const Regions more = build_regions(schedule, Placement::kFewest);
  EXPECT_EQ(chains(schedule, more.regions[0]), Labels{"gs"});
}

TEST(Regions, LanesBesideThoseWithStripsMakeTheRowsThatTheyNeed) {
  // c has strips of the rows that r makes, q all of a row; neither waits for the other.
  auto rows = of_extent({.chunks = 32, .rows = 32, .row_inputs = 1, .row_outputs = 1}),
       strips = of_extent({.chunks = 64, .rows = 32, .row_inputs = 1, .row_outputs = 1, .strips = 2}),
       parts = of_extent({.chunks = 32, .rows = 32, .row_inputs = 1, .parts = true});
  auto schedule = [&](const std::shared_ptr<const PreparedKernel>& other) {
    return std::vector{labelled("w", call(of_extent({.chunks = 7}), {0}, {1})),
                       labelled("r", call(rows, {1}, {2})), labelled("c", call(strips, {2}, {3})),
                       labelled("q", call(other, {2}, {4})),
                       labelled("z", call(of_extent({.chunks = 7}), {3, 4}, {5}))};
  };
  const Regions regions = build_regions(schedule(parts), Placement::kFewest);
  ASSERT_EQ(regions.regions.size(), 3u);
  EXPECT_EQ(chains(schedule(parts), regions.regions[1]), (Labels{"rc", "rq"}));
  EXPECT_EQ(regions.regions[1].lane_sets[0].chunks, 64);
  EXPECT_EQ(regions.regions[1].lane_sets[1].chunks, 32);
  EXPECT_EQ(regions.regions[1].lanes, 96);
  EXPECT_TRUE(regions.spans[1].repeated);
  // Where there are not workers for all at once, r is made once and waited for.
  const auto many = of_extent({.chunks = 96, .rows = 32, .row_inputs = 1, .strips = 3});
  const Regions apart = build_regions(schedule(many), Placement::kFewest);
  ASSERT_EQ(apart.regions.size(), 4u);
  EXPECT_EQ(chains(schedule(many), apart.regions[1]), Labels{"r"});
}

TEST(Regions, LanesBeginWithWhatNeedsNothingOfTheRegionBefore) {
  // a and b by rows of what all of w leaves; t by rows of what was there; c of both.
  auto rows = of_extent({.chunks = 32, .rows = 32, .row_inputs = 1, .row_outputs = 1}),
       both = of_extent({.chunks = 32, .rows = 32, .row_inputs = 3, .row_outputs = 1});
  const std::vector<ScheduledKernel> schedule = {labelled("v", call(of_extent({.chunks = 7}), {0}, {8})),
                                                 labelled("w", call(of_extent({.chunks = 7}), {8}, {1})),
                                                 labelled("a", call(rows, {1}, {2})),
                                                 labelled("b", call(rows, {2}, {3})),
                                                 labelled("t", call(rows, {10}, {4})),
                                                 labelled("c", call(both, {3, 4}, {5})),
                                                 labelled("z", call(of_extent({.chunks = 7}), {5}, {6}))};
  const Regions regions = build_regions(schedule, Placement::kFewest);
  ASSERT_EQ(regions.regions.size(), 4u);
  EXPECT_EQ(chains(schedule, regions.regions[2]), Labels{"tabc"});
}

TEST(Regions, FewestPutsPartsOfASumBesideALaneThatGoesOn) {
  auto rows = of_extent({.chunks = 32, .rows = 32, .row_inputs = 1, .row_outputs = 1}),
       parts = of_extent({.chunks = 32, .rows = 32, .row_inputs = 1, .parts = true});
  std::vector<ScheduledKernel> schedule = {
      labelled("a", call(rows, {0}, {1})), labelled("p", call(parts, {1}, {2})),
      labelled("b", call(rows, {1}, {3})), labelled("c", call(rows, {3}, {4})),
      labelled("q", call(parts, {4}, {5}))};
  Regions regions = build_regions(schedule, Placement::kFewest);
  ASSERT_EQ(regions.regions.size(), 1u);
  // q needs all that the lane makes, so that nothing goes on meanwhile.
  EXPECT_EQ(chains(schedule, regions.regions[0]), (Labels{"abcq", "p<0"}));
  EXPECT_EQ(regions.regions[0].lane_sets[1].beside, 0);
  EXPECT_EQ(regions.regions[0].lanes, 64);
  // Where there are not workers for both, the lane does all.
  for (ScheduledKernel& kernel : schedule) {
    PhaseExtent extent = dynamic_cast<const ExtentOnly&>(*kernel.kernel).extent;
    extent.chunks = extent.rows = 100;
    kernel.kernel = of_extent(extent);
  }
  EXPECT_EQ(chains(schedule, build_regions(schedule, Placement::kFewest).regions[0]), Labels{"apbcq"});
}

TEST(Regions, FewestGoesBackPastWhatAPhaseDoesNotNeed) {
  // 0 -> 1 by rows, 1 -> 2 over all rows; then 0 -> 3 -> 5 over all rows needs nothing of the second region.
  std::vector<ScheduledKernel> schedule = {
      call(over_rows(kRows, 1, 1), {0}, {1}), call(over_rows(kRows, 0, 1), {1}, {2}),
      call(over_rows(kRows, 1, 1), {0}, {3}), call(over_rows(kRows, 0, 1), {3}, {5})};
  EXPECT_EQ(fewest(schedule), (Spans{{0, 0}, {1, 1}, {0, 0}, {1, 1}}));
  EXPECT_EQ(spans_of(schedule), (Spans{{0, 0}, {1, 1}, {1, 1}, {2, 2}}));
}

TEST(Regions, FewestDelaysWhatNothingWaitsFor) {
  // 0 -> 1 -> 2 over all rows; 3 is read by nobody and could be in the first region.
  EXPECT_EQ(fewest({call(over_rows(kRows, 1, 1), {0}, {1}), call(over_rows(kRows, 1, 1), {0}, {3}),
                    call(over_rows(kRows, 0, 1), {1}, {2})}),
            (Spans{{0, 0}, {1, 1}, {1, 1}}));
}

TEST(Regions, FewestDelaysNoLargeWork) {
  const std::vector schedule = {
      call(of_extent({.chunks = 4}), {0}, {1}), call(of_extent({.chunks = 4, .prompt = true}), {0}, {2}),
      call(of_extent({.chunks = 4}), {0}, {3}), call(of_extent({.chunks = 4}), {1}, {4})};
  std::vector<int> regions;
  for (const Span& span : build_regions(schedule, Placement::kFewest).spans) regions.push_back(span.first);
  EXPECT_EQ(regions, (std::vector{0, 0, 1, 1}));
}

TEST(Regions, FewestKeepsUpdatesBehindTheReadersOfTheOldValue) {
  EXPECT_EQ(fewest({call(over_rows(kRows, 0, 1), {0}, {1}), call(over_rows(10, 3, 1), {0, 2}, {3}, {0}),
                    call(over_rows(10, 1, 1), {3}, {4})}),
            (Spans{{0, 0}, {1, 1}, {1, 1}}));
}

TEST(Regions, FewestAdvancesAPlaceInTheDataAsSoonAsItHasBeenRead) {
  // Value 0 is read by rows, and becomes 4 and 5 over it: from itself alone, or from what the step made.
  auto at_end = [](int from, int to) {
    return fewest({call(over_rows(kRows, 0, 1), {0}, {1}), call(over_rows(kRows, 0, 1), {1}, {2}),
                   call(over_rows(kRows, 0, 1), {2}, {3}),
                   call(of_extent({.chunks = 1}), {from}, {to}, {0})})[3]
        .first;
  };
  EXPECT_EQ(at_end(0, 4), 1) << "its reader is in the first region, and nothing else keeps it";
  EXPECT_EQ(at_end(1, 5), 2) << "late, as updates are";
}

TEST(Regions, FewestPutsPhasesOfOneChunkThatNeedEachOtherIntoOneLane) {
  auto serial = [] { return std::shared_ptr<const PreparedKernel>(serial_call([](const CpuArgs&) {})); };
  // 1 and 2 are made apart; 3 needs both, and a reader by rows of everything waits.
  Regions regions =
      build_regions(std::vector{call(serial(), {0}, {1}), call(serial(), {0}, {2}),
                                call(serial(), {1, 2}, {3}), call(over_rows(kRows, 0, 1), {3}, {4})},
                    Placement::kFewest);
  ASSERT_EQ(regions.regions.size(), 2u);
  ASSERT_EQ(regions.regions[0].lane_sets.size(), 1u);
  EXPECT_EQ(regions.regions[0].lane_sets[0].steps.size(), 3u);
  EXPECT_EQ(regions.regions[0].lanes, 1);
  EXPECT_EQ(regions.regions[0].lane_sets[0].steps[2].call, 2);
}

TEST(Regions, FewestGivesRowsThatDoNotNeedEachOtherLanesOfTheirOwn) {
  std::vector schedule{call(over_rows(kRows, 1, 1), {0}, {1}), call(over_rows(kRows, 1, 1), {0}, {2}),
                       call(over_rows(kRows, 1, 1), {1}, {3})};
  Regions apart = build_regions(schedule, Placement::kFewest);
  ASSERT_EQ(apart.regions.size(), 1u);
  ASSERT_EQ(apart.regions[0].lane_sets.size(), 2u);
  EXPECT_EQ(apart.regions[0].lane_sets[0].steps.size(), 2u) << "the third needs the first";
  EXPECT_EQ(build_regions(schedule).regions[0].lane_sets.size(), 1u) << "on a CPU, less to hand out";
}

TEST(Regions, FewestMakesWhatIsGivenBesideTheLongestLane) {
  auto serial = [] { return std::shared_ptr<const PreparedKernel>(serial_call([](const CpuArgs&) {})); };
  // Regions: 1 | 2, 3, 4 of one lane | 5 | 6, which alone reads the given 8 and 9.
  Regions regions = build_regions(
      std::vector{call(over_rows(kRows, 0, 1), {0}, {1}), call(over_rows(kRows, 0, 1), {1}, {2}),
                  call(over_rows(kRows, 1, 1), {2}, {3}), call(over_rows(kRows, 1, 1), {3}, {4}),
                  call(over_rows(kRows, 0, 1), {4}, {5}), call(serial(), {7}, {8}), call(serial(), {8}, {9}),
                  call(over_rows(kRows, 0, 1), {5, 9}, {6})},
      Placement::kFewest);
  ASSERT_EQ(regions.regions.size(), 4u);
  for (size_t i : {5, 6}) {
    EXPECT_EQ(regions.spans[i].first, 1);
    EXPECT_EQ(regions.spans[i].last, 1);
  }
}

TEST(Regions, FewestDividesAPhaseAsItLikesWhereNoOtherSharesItsLanes) {
  auto either = [] {
    return of_extent({.chunks = 64, .rows = kRows, .row_inputs = 1, .row_outputs = 1, .chunks_alone = 3});
  };
  Regions regions =
      build_regions(std::vector{call(either(), {0}, {1}), call(either(), {2}, {3}), call(either(), {3}, {4})},
                    Placement::kFewest);
  ASSERT_EQ(regions.regions.size(), 1u);
  const std::vector<LaneSet>& sets = regions.regions[0].lane_sets;
  ASSERT_EQ(sets.size(), 2u);
  EXPECT_TRUE(sets[0].alone);
  EXPECT_EQ(sets[0].chunks, 3);
  EXPECT_FALSE(sets[1].alone);
  EXPECT_EQ(sets[1].chunks, 64) << "one reads what the other makes";
  EXPECT_EQ(regions.regions[0].lanes, 67);
}

TEST(Regions, FewestPartsManyLightLanesFromHeavyOnes) {
  auto spans = [](int64_t light_chunks) {
    Regions regions = build_regions(std::vector{call(of_extent({.chunks = 100, .heavy = true}), {0}, {1}),
                                                call(of_extent({.chunks = light_chunks}), {0}, {2}),
                                                call(over_rows(kRows, 0, 1), {1, 2}, {3})},
                                    Placement::kFewest);
    std::vector<std::pair<int, int>> all;
    for (const Span& span : regions.spans) all.emplace_back(span.first, span.last);
    return all;
  };
  EXPECT_EQ(spans(1000), (Spans{{0, 0}, {1, 1}, {2, 2}}));
  EXPECT_EQ(spans(100), (Spans{{0, 0}, {0, 0}, {1, 1}})) << "few run beside them";
}

TEST(Regions, AViewIsNotRunAndItsReadersWaitForWhatItShows) {
  for (Placement placement : {Placement::kInOrder, Placement::kFewest}) {
    std::vector schedule{call(over_rows(kRows, 1, 1), {0}, {1}), call(over_rows(kRows / 2, 1, 1), {1}, {2}),
                         call(over_rows(kRows, 1, 1), {2}, {3}), call(over_rows(kRows, 0, 1), {2}, {4})};
    schedule[1].view = true;
    Regions regions = build_regions(schedule, placement);
    ASSERT_EQ(regions.regions.size(), 2u);
    for (const Region& region : regions.regions)
      for (const LaneSet& set : region.lane_sets)
        for (const LaneSet::Step& step : set.steps) EXPECT_NE(step.call, 1);
    EXPECT_EQ(regions.spans[1].first, 0) << "where its operand is made";
    EXPECT_EQ(regions.spans[1].last, 0);
    EXPECT_EQ(regions.spans[3].first, 1) << "a reader of all rows";
  }
}

}  // namespace
}  // namespace wholestep
