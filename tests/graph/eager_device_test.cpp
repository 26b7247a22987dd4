// Eager execution on a device whose memory the host cannot touch: ops run where their operands lie, and their
// memory comes from a cache of its own.
#include <gtest/gtest.h>

#include "support/eager_device.h"
#include "support/expect_error.h"
#include "support/foreign_backend.h"
#include "support/op_case.h"
#include "wholestep/backend/memory_cache.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

class EagerDevice : public testing::TestWithParam<const OpDef*> {};
INSTANTIATE_TEST_SUITE_P(AllOps, EagerDevice, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

TEST_P(EagerDevice, AnOpAndItsGradientRunWhereTheOperandsLie) {
  expect_eager_agrees(*GetParam(), foreign_backend(), 0, 3);
}

TEST(EagerDeviceMemory, ALoopOfOpsAsksTheDeviceForNothing) {
  Tensor x = ones({100}).to(foreign_backend());
  auto step = [&] { return sum(exp(x * 0.5) + x); };
  step();
  const BackendCounters before = foreign_backend().counters();
  const MemoryStatistics cached = eager_memory(foreign_backend()).statistics();
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(foreign_backend().counters().allocations, before.allocations);
  EXPECT_EQ(eager_memory(foreign_backend()).statistics().in_use_bytes, cached.in_use_bytes);
  EXPECT_GE(eager_memory(foreign_backend()).statistics().hits, cached.hits + 40);
}

TEST(EagerDeviceMemory, ItsLimitIsARecoverableError) {
  MemoryCache& memory = eager_memory(foreign_backend());
  memory.empty_cache();
  memory.set_limit(memory.statistics().in_use_bytes + 4096);
  Tensor x = ones({64}).to(foreign_backend());
  expect_error(ErrorCode::kPlanRefused, {"limit"}, [&] { ones({4096}).to(foreign_backend()); });
  EXPECT_EQ(sum(x + x).item<double>(), 128);
  memory.set_limit(std::numeric_limits<int64_t>::max());
}

TEST(EagerDeviceTensor, OperandsOnTheHostAreCopiedThereAndTwoDevicesAreRefused) {
  static auto& other = *new ForeignBackend;  // outlives what its cache keeps
  Tensor here = ones({3}), there = here.to(foreign_backend()), elsewhere = here.to(other);
  Tensor sum = here + there;
  EXPECT_EQ(&device_of(sum), &foreign_backend());
  EXPECT_EQ(as_doubles(sum.to_host()), std::vector<double>(3, 2));
  expect_error(ErrorCode::kUsage, {"operands of add lie on two devices", "to() copies"},
               [&] { there + elsewhere; });
}

TEST(EagerDeviceTensor, ElementsAreReadSetAndAssignedThere) {
  Tensor x = zeros({2, 2}).to(foreign_backend());
  const BackendCounters before = foreign_backend().counters();
  x.set({1, -1}, 7);
  EXPECT_EQ(x.at<float>({1, 1}), 7);
  EXPECT_EQ(foreign_backend().counters().copied_out_bytes - before.copied_out_bytes, 4);
  EXPECT_EQ(foreign_backend().counters().copied_in_bytes - before.copied_in_bytes, 4);
  Tensor y = zeros_like(x);
  EXPECT_EQ(&device_of(y), &foreign_backend());
  const BackendCounters between = foreign_backend().counters();
  y.assign(x + x);
  EXPECT_EQ(foreign_backend().counters().copied_out_bytes, between.copied_out_bytes);
  EXPECT_EQ(as_doubles(y.to_host()), (std::vector<double>{0, 0, 0, 14}));
  // In-place writes are noticed by backward, there too.
  Tensor leaf = ones({2}).to(foreign_backend()).set_requires_grad(), z = leaf * leaf;
  leaf.assign(ones({2}).to(foreign_backend()));
  expect_error(ErrorCode::kUsage, {"overwritten in place"}, [&] { wholestep::sum(z).backward(); });
}

TEST(EagerDeviceTraining, FollowsTheHostBitForBit) {
  EXPECT_EQ(train_eagerly_on(foreign_backend(), 4), train_eagerly_on(cpu_backend(), 4));
}

}  // namespace
}  // namespace wholestep::test
