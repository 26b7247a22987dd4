// Every item runs exactly once on every number of threads, however runs nest, follow or overlap each other.
#include "wholestep/backend/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

TEST(ThreadPool, EveryItemRunsOnceOnAnyNumberOfThreads) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t items : {0, 1, 2, 7, 1000}) {
      std::vector<int> calls(static_cast<size_t>(items), 0);  // not atomic: each item owns its element
      pool.run(items, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
      for (int count : calls) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, RunsFollowEachOtherWithoutMixingTheirItems) {
  ThreadPool pool(3);
  std::vector<int64_t> values(5);
  for (int64_t run = 0; run < 20000; ++run) {
    int64_t items = 1 + run % 5;
    pool.run(items, [&values, run](int64_t i) { values[static_cast<size_t>(i)] = run * 8 + i; });
    for (int64_t i = 0; i < items; ++i) ASSERT_EQ(values[static_cast<size_t>(i)], run * 8 + i);
  }
}

TEST(ThreadPool, SleepingWorkersWakeUp) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // longer than workers spin
    std::atomic<int> started{0};
    // Each item waits for the other: only two threads can get through.
    pool.run(2, [&](int64_t) {
      started.fetch_add(1);
      while (started.load() < 2) std::this_thread::yield();
    });
    EXPECT_EQ(started.load(), 2);
  }
}

TEST(ThreadPool, ThreadsBeyondTheLimitTakeNoItemsUntilItIsRaised) {
  ThreadPool pool(6);
  for (int64_t limit : {2, 6, 1, 3, 100, 2, 0}) {
    pool.limit(limit);
    const int most = static_cast<int>(std::clamp<int64_t>(limit, 1, 6));
    int runs_beyond = 0;
    for (int run = 0; run < 300; ++run) {
      std::vector<int> calls(41, 0);
      std::atomic<int> highest{0};
      pool.run(41, [&](int64_t i) {
        ++calls[static_cast<size_t>(i)];
        for (int seen = highest; seen < pool.slot() && !highest.compare_exchange_weak(seen, pool.slot());) {
        }
      });
      EXPECT_EQ(calls, std::vector<int>(41, 1));
      runs_beyond += highest >= most;
    }
    EXPECT_LE(runs_beyond, 10) << "threads that were on their way when the limit fell";
    // As many as are in use can wait for each other.
    std::atomic<int> started{0};
    pool.run(most, [&](int64_t) {
      started.fetch_add(1);
      while (started.load() < most) std::this_thread::yield();
    });
    EXPECT_EQ(started, most);
  }
}

TEST(ThreadPool, ARunInsideAnItemWorksInline) {
  ThreadPool pool(3);
  std::vector<int> sums(12, 0);
  pool.run(12, [&](int64_t i) {
    std::thread::id outer = std::this_thread::get_id();
    pool.run(10, [&](int64_t j) {
      EXPECT_EQ(std::this_thread::get_id(), outer);
      sums[static_cast<size_t>(i)] += static_cast<int>(j);
    });
  });
  EXPECT_EQ(sums, std::vector<int>(12, 45));
}

TEST(ThreadPool, RunsOfTwoCallersAtOnceBothFinish) {
  ThreadPool pool(2);
  auto caller = [&pool](int64_t& total) {
    for (int run = 0; run < 2000; ++run) {
      std::vector<int64_t> values(9);
      pool.run(9, [&](int64_t i) { values[static_cast<size_t>(i)] = i; });
      total += std::accumulate(values.begin(), values.end(), int64_t{0});
    }
  };
  int64_t first = 0, second = 0;
  std::thread other([&] { caller(second); });
  caller(first);
  other.join();
  EXPECT_EQ(first, 2000 * 36);
  EXPECT_EQ(second, 2000 * 36);
}

TEST(ThreadPool, SlotsAreInRangeAndNeverSharedAtTheSameTime) {
  ThreadPool pool(4), other(2);
  std::array<std::atomic<int>, 4> users{};
  pool.run(400, [&](int64_t) {
    auto slot = static_cast<size_t>(pool.slot());
    ASSERT_LT(slot, 4u);
    EXPECT_EQ(users[slot].fetch_add(1), 0);
    EXPECT_EQ(other.slot(), 0);  // a worker of one pool is nobody in another
    users[slot].fetch_sub(1);
  });
  EXPECT_EQ(pool.slot(), 0);
}

TEST(ThreadPool, DefaultPoolTakesTheNumberOfThreadsItIsGiven) {
  int before = default_pool().threads();
  set_threads(3);
  EXPECT_EQ(default_pool().threads(), 3);
  EXPECT_THROW(set_threads(0), Error);
  EXPECT_EQ(default_pool().threads(), 3);
  set_threads(before);
}

}  // namespace
}  // namespace wholestep
