// Eager execution on a GPU: ops run where their operands lie, their memory comes from a cache, and kernels
// are compiled once.
#include <gtest/gtest.h>

#include <cmath>

#include "support/cuda_device.h"
#include "support/eager_device.h"
#include "wholestep/backend/memory_cache.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

class CudaEager : public testing::TestWithParam<const OpDef*> {};
INSTANTIATE_TEST_SUITE_P(AllOps, CudaEager, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

TEST_P(CudaEager, AnOpAndItsGradientAgreeWithTheCpu) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  ExactF32 exact;
  expect_eager_agrees(*GetParam(), cuda_backend(), 1e-5, 2);
}

TEST(CudaEagerTraining, FollowsTheLossesOfTheCpu) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  ExactF32 exact;
  std::vector<double> got = train_eagerly_on(cuda_backend(), 8), wanted = train_eagerly_on(cpu_backend(), 8);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-4 * wanted[i]) << "step " << i;
}

TEST(CudaEagerMemory, ALoopOfOpsAllocatesAndCompilesNothing) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  Tensor x = ones({1000}).to(cuda_backend());
  auto step = [&] { return sum(exp(x * 0.5) + x); };
  step();
  const BackendCounters before = cuda_backend().counters();
  const MemoryStatistics cached = eager_memory(cuda_backend()).statistics();
  for (int i = 0; i < 100; ++i) step();
  const BackendCounters after = cuda_backend().counters();
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.submissions - before.submissions, 400);
  EXPECT_EQ(after.copied_out_bytes, before.copied_out_bytes);
  EXPECT_EQ(eager_memory(cuda_backend()).statistics().in_use_bytes, cached.in_use_bytes);
  EXPECT_NEAR(step().item<double>(), 1000 * (std::exp(0.5) + 1), 0.1);
}

}  // namespace
}  // namespace wholestep::test
