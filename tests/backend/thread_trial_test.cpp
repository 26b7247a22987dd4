// A trial keeps the number of threads whose steps are fastest, whatever interrupts some of them, and wastes
// few steps where steps are long. Time is what the tests say it is.
#include "wholestep/backend/cpu/thread_trial.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

namespace wholestep {
namespace {

using std::chrono::microseconds;
using Cost = std::function<int64_t(int64_t threads, int64_t step)>;  // us

struct Outcome {
  int64_t threads = 0, steps = 0;
  std::map<int64_t, int64_t> steps_with = {};
};

/// On so many processors, by default enough.
Outcome trial_of(int64_t most, const Cost& cost, int64_t processors = 16) {
  ThreadTrial trial(most, processors);
  Outcome outcome;
  for (; !trial.over() && outcome.steps < 100000; ++outcome.steps) {
    ++outcome.steps_with[trial.threads()];
    trial.took(microseconds(cost(trial.threads(), outcome.steps)));
  }
  outcome.threads = trial.threads();
  return outcome;
}

TEST(ThreadTrial, OneThreadNeedsNone) {
  EXPECT_TRUE(ThreadTrial(1, 1).over());
  EXPECT_EQ(ThreadTrial(1, 1).threads(), 1);
}

TEST(ThreadTrial, KeepsTheFastestOfAllAndTheLowerPowersOfTwo) {
  for (int64_t most : {2, 3, 6, 8, 12, 16})
    for (int64_t fastest : {1, 2, 4, 8, 12, 16}) {
      if (fastest > most || (fastest == 12 && most != 12)) continue;
      // Each doubling away from the fastest costs half as much again.
      const Outcome outcome = trial_of(most, [&](int64_t threads, int64_t) {
        return static_cast<int64_t>(100.0 + 50.0 * std::abs(std::log2(threads) - std::log2(fastest)));
      });
      EXPECT_EQ(outcome.threads, fastest) << most;
    }
}

TEST(ThreadTrial, StaysWithAllWhereFewerAreAsFast) {
  EXPECT_EQ(trial_of(16, [](int64_t, int64_t) { return 100; }).threads, 16);
}

TEST(ThreadTrial, WhereEachIsFasterHalfOfTheTimeProcessorsDecide) {
  auto cost = [](int64_t threads, int64_t step) { return threads == 2 ? 90 + step / 13 % 2 * 20 : 100; };
  EXPECT_EQ(trial_of(2, cost, 1).threads, 1);
  EXPECT_EQ(trial_of(2, cost, 2).threads, 2);
}

TEST(ThreadTrial, TriesNoFurtherThanItGetsBetter) {
  const Outcome outcome = trial_of(16, [](int64_t threads, int64_t) { return threads == 8 ? 100 : 150; });
  EXPECT_EQ(outcome.threads, 8);
  EXPECT_EQ(outcome.steps_with.count(4), 1u);
  EXPECT_EQ(outcome.steps_with.count(2), 0u);
}

TEST(ThreadTrial, WhatInterruptsStepsDoesNotDecide) {
  // Two are faster by a fifth. In one step of twenty something else takes a core for some milliseconds, which
  // two threads feel and one does not.
  const Outcome outcome = trial_of(2, [](int64_t threads, int64_t step) {
    return threads == 2 ? 400 + (step % 20 == 19 ? 4000 : 0) : 500;
  });
  EXPECT_EQ(outcome.threads, 2);
}

TEST(ThreadTrial, AFastTurnNowAndThenDoesNotDecide) {
  // Sixteen threads on two cores: as fast as two by chance, and mostly not.
  const Outcome outcome = trial_of(
      16,
      [](int64_t threads, int64_t step) {
        return threads > 2 ? 350 + step / 5 % 5 * 100 : threads == 2 ? 400 : 700;
      },
      2);
  EXPECT_EQ(outcome.threads, 2);
}

TEST(ThreadTrial, StepsRightAfterAChangeDoNotCount) {
  // Threads that wake take ten steps' time for it, and those that stay none.
  int64_t before = 2;
  const Outcome outcome = trial_of(2, [&](int64_t threads, int64_t) {
    const int64_t waking = threads > before ? 1000 : 0;
    before = threads;
    return waking + (threads == 2 ? 90 : 100);
  });
  EXPECT_EQ(outcome.threads, 2);
}

TEST(ThreadTrial, OfLongStepsOneIsWasted) {
  const Outcome outcome =
      trial_of(16, [](int64_t threads, int64_t) { return threads == 16 ? 50000 : 80000; });
  EXPECT_EQ(outcome.threads, 16);
  EXPECT_EQ(outcome.steps, 3);  // the cold one, and one of each
  EXPECT_EQ(outcome.steps_with.at(8), 1);
}

TEST(ThreadTrial, TheColdStepDoesNotCount) {
  const Outcome outcome = trial_of(4, [](int64_t threads, int64_t step) {
    return (threads == 4 ? 50000 : 60000) + (step == 0 ? 100000 : 0);
  });
  EXPECT_EQ(outcome.threads, 4);
}

TEST(ThreadTrial, TriesAgainAfterAWhileAndForgetsWhatItFound) {
  ThreadTrial trial(2, 2);
  int64_t us = 0, spent[2] = {0, 0};
  auto cost = [&](bool busy) { return trial.threads() == 2 && !busy ? 50 : 100 + trial.threads(); };
  for (int round = 0; round < 2; ++round) {
    const bool busy = round == 0;
    for (; !trial.over(); spent[0] += us) trial.took(microseconds(us = cost(busy)));
    EXPECT_EQ(trial.threads(), busy ? 1 : 2);
    for (; trial.over(); spent[1] += us) trial.took(microseconds(us = cost(busy)));
  }
  EXPECT_GT(spent[1], 250 * spent[0]);
  EXPECT_LT(spent[1], 260 * spent[0]);
}

TEST(ThreadTrial, StepsAreTriedForLessThanASixthOfASecond) {
  for (int64_t us : {5, 50, 500, 5000}) {
    int64_t total = 0;
    trial_of(2, [&](int64_t threads, int64_t) {
      const int64_t cost = us * (3 - threads);
      total += cost;
      return cost;
    });
    EXPECT_LE(total, 150000) << us;
    EXPECT_GE(total, 30000) << us;
  }
}

}  // namespace
}  // namespace wholestep
