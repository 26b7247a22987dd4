// The cache of eager memory: what it hands out again, its limit, its figures, and threads.
#include "wholestep/backend/memory_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "support/expect_error.h"
#include "support/op_case.h"
#include "wholestep/base/philox.h"
#include "wholestep/graph/tensor.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/reductions.h"

namespace wholestep::test {
namespace {

TEST(MemoryCache, HandsReleasedBlocksOutAgain) {
  MemoryCache cache(cpu_backend());
  std::shared_ptr<Memory> block = cache.allocate(1000);
  std::byte* address = block->data();
  EXPECT_EQ(block->bytes(), 1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(address) % kAlignment, 0u);
  block.reset();
  block = cache.allocate(1020);  // of the same class
  EXPECT_EQ(block->data(), address);
  MemoryStatistics s = cache.statistics();
  EXPECT_EQ(s.requests, 2);
  EXPECT_EQ(s.hits, 1);
  EXPECT_EQ(s.blocks, 1);
  EXPECT_EQ(s.in_use_bytes, 1024);
  EXPECT_EQ(s.peak_bytes, 1024);
  EXPECT_EQ(s.cached_bytes, 0);
}

TEST(MemoryCache, FragmentationIsTheShareOfBlocksThatNobodyAskedFor) {
  MemoryCache cache(cpu_backend());
  EXPECT_EQ(cache.statistics().fragmentation(), 0);
  auto whole = cache.allocate(1024), most = cache.allocate(900), little = cache.allocate(4);
  MemoryStatistics s = cache.statistics();
  EXPECT_EQ(s.requested_bytes, 1024 + 900 + 4);
  EXPECT_EQ(s.in_use_bytes, 1024 + 960 + 64);
  EXPECT_EQ(s.fragmentation(), 1 - 1928.0 / 2048);
  little.reset();
  EXPECT_EQ(cache.statistics().fragmentation(), 1 - 1924.0 / 1984);
  most.reset();
  EXPECT_EQ(cache.statistics().fragmentation(), 0);
  auto other = cache.allocate(950);  // by the block of the 900
  EXPECT_EQ(cache.statistics().hits, 1);
  EXPECT_EQ(cache.statistics().fragmentation(), 1 - 1974.0 / 1984);
}

TEST(MemoryCache, SizeClassesWasteAtMostAnEighth) {
  for (int64_t bytes = 0; bytes < 70000; bytes += 7) {
    int64_t size = MemoryCache::size_class(bytes);
    ASSERT_GE(size, bytes);
    ASSERT_EQ(size % kAlignment, 0);
    ASSERT_LE(size - bytes, std::max<int64_t>(kAlignment, bytes / 8)) << bytes;
    ASSERT_EQ(MemoryCache::size_class(size), size);
  }
}

TEST(MemoryCache, T27CountsToTheByteOverRandomSizes) {
  MemoryCache cache(cpu_backend());
  const int64_t before = cpu_backend().counters().bytes_in_use;
  PhiloxStream random(5, 7);
  std::vector<std::shared_ptr<Memory>> held;
  int64_t requested = 0, in_use = 0, peak = 0;
  for (int i = 0; i < 4000; ++i) {
    if (held.empty() || random.below(5) < 3) {
      const int64_t bytes = static_cast<int64_t>(random.below(200000));
      held.push_back(cache.allocate(bytes));
      requested += bytes;
      in_use += MemoryCache::size_class(bytes);
      std::memset(held.back()->data(), i, static_cast<size_t>(bytes));
    } else {
      std::swap(held[random.below(held.size())], held.back());
      requested -= held.back()->bytes();
      in_use -= MemoryCache::size_class(held.back()->bytes());
      held.pop_back();
    }
    peak = std::max(peak, in_use);
    MemoryStatistics s = cache.statistics();
    ASSERT_EQ(s.requested_bytes, requested);
    ASSERT_EQ(s.in_use_bytes, in_use);
    ASSERT_EQ(s.peak_bytes, peak);
    ASSERT_EQ(s.blocks, static_cast<int64_t>(held.size()));
    ASSERT_EQ(cpu_backend().counters().bytes_in_use - before, s.in_use_bytes + s.cached_bytes);
  }
  held.clear();
  EXPECT_GT(cache.statistics().cached_bytes, 0);
  cache.empty_cache();
  EXPECT_EQ(cache.statistics().cached_bytes, 0);
  EXPECT_EQ(cpu_backend().counters().bytes_in_use, before);
}

TEST(MemoryCache, RefusesWhatIsOverItsLimitAndGoesOn) {
  MemoryCache cache(cpu_backend());
  cache.set_limit(int64_t{4} << 20);
  std::shared_ptr<Memory> kept = cache.allocate(int64_t{3} << 20);
  kept->data()[5] = std::byte{42};
  try {
    cache.allocate(int64_t{2} << 20);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(ErrorCode::kPlanRefused));
    EXPECT_STREQ(error.what(),
                 "eager execution is out of memory: got 2.0 MiB asked for, 3.0 MiB in use, expected at most "
                 "4.0 MiB in all. Hint: let go of tensors, or raise the limit of eager_memory()");
  }
  EXPECT_EQ(kept->data()[5], std::byte{42});
  EXPECT_EQ(cache.allocate(int64_t{1} << 20)->bytes(), int64_t{1} << 20);
  kept.reset();  // what is kept makes room
  EXPECT_EQ(cache.allocate(int64_t{4} << 20)->bytes(), int64_t{4} << 20);
}

TEST(MemoryCache, ReportsWhatIsLeftByPurpose) {
  MemoryCache cache(cpu_backend());
  auto a = cache.allocate(1 << 20, "matmul"), b = cache.allocate(1 << 20, "matmul"), c = cache.allocate(100);
  EXPECT_EQ(cache.report(), "matmul: 2 blocks, 2.0 MiB\ntensors: 1 block, 128 B\n");
  a.reset(), b.reset(), c.reset();
  EXPECT_EQ(cache.report(), "");
}

TEST(EagerMemory, ALoopOfOpsSoonAllocatesNothing) {
  Tensor x = tensor(std::vector<float>(256, 0.5f), {16, 16}).set_requires_grad();
  auto step = [&] {
    x.zero_grad();
    sum(tanh(matmul(x, x)) * 2.0).backward();
  };
  for (int i = 0; i < 3; ++i) step();
  const int64_t in_use = eager_memory().statistics().in_use_bytes,
                allocations = cpu_backend().counters().allocations;
  for (int i = 0; i < 100; ++i) step();
  EXPECT_EQ(cpu_backend().counters().allocations, allocations);
  EXPECT_EQ(eager_memory().statistics().in_use_bytes, in_use) << eager_memory().report();
}

TEST(EagerMemory, AnOpThatFindsNoMemoryLeavesItsOperandsAsTheyAre) {
  Tensor x = tensor(std::vector<float>{1, 2, 3}, {3});
  eager_memory().empty_cache();
  eager_memory().set_limit(eager_memory().statistics().in_use_bytes + (1 << 16));
  expect_error(ErrorCode::kPlanRefused, {"out of memory"}, [&] { full({1 << 20}, 1); });
  EXPECT_THAT(as_doubles(x * 2.0), testing::ElementsAre(2, 4, 6));
  eager_memory().set_limit(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(full({1 << 20}, 1).numel(), 1 << 20);
}

TEST(EagerMemory, T31EightThreadsOfMixedOpsGetTheResultsOfOne) {
  auto work = [](uint64_t seed) {
    PhiloxStream random(seed, 1);
    double total = 0;
    for (int i = 0; i < 300; ++i) {
      const int64_t n = 1 + static_cast<int64_t>(random.below(40));
      std::vector<float> values(static_cast<size_t>(n * n));
      for (float& v : values) v = random.uniform(-1, 1);
      Tensor x = tensor(values, {n, n}).set_requires_grad();
      Tensor y = matmul(x, x) * 0.5 + exp(-x);
      Tensor loss = mean(logsumexp(y, {1})) + max(x) + norm(y);
      loss.backward();
      total += loss.item<double>() + sum(x.grad()).item<double>();
    }
    return total;
  };
  std::vector<double> expected, got(8);
  for (uint64_t seed = 0; seed < 8; ++seed) expected.push_back(work(seed));
  const MemoryStatistics before = eager_memory().statistics();
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 8; ++seed)
    threads.emplace_back([&got, &work, seed] { got[static_cast<size_t>(seed)] = work(seed); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(got, expected);
  const MemoryStatistics after = eager_memory().statistics();
  EXPECT_EQ(after.blocks, before.blocks);
  EXPECT_GE(after.requests - before.requests, 8 * 10'000);  // an op that computes asks for its results
}

}  // namespace
}  // namespace wholestep::test
