// Eager execution on a GPU: ops run where their operands lie, their memory comes from a cache, and kernels
// are compiled once.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "support/cuda_device.h"
#include "support/eager_device.h"
#include "wholestep/backend/memory_cache.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

class CudaEager : public testing::TestWithParam<const OpDef*> {};
INSTANTIATE_TEST_SUITE_P(AllOps, CudaEager, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

TEST_P(CudaEager, AnOpAndItsGradientAgreeWithTheCpu) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  ExactF32 exact;
  expect_eager_agrees(*GetParam(), cuda_backend(), 1e-5, 8);
}

TEST(CudaEagerLibraries, AgreeWithTheCpu) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  ExactF32 exact;
  EverythingByLibraries small_ones_too;
  for (const char* op : {"matmul", "batch_matmul", "conv2d", "conv2d_dx", "conv2d_dw"})
    expect_eager_agrees(find_op(op), cuda_backend(), 1e-5, 8);
}

/// Bits of the operators of the host, zeros, subnormal numbers, infinities and NaNs included.
TEST(CudaArithmetic, QuotientsAndRootsAreRoundedOnce) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  using Limits = std::numeric_limits<float>;
  std::vector<float> values = {
      0, Limits::denorm_min(), 3e-42f, Limits::min(), Limits::max(), Limits::infinity(), Limits::quiet_NaN()};
  for (int exponent : {-126, -100, -97, -96, -95, -64, -29, -28, -27, -1, 0, 1, 28, 64, 96, 126, 127})
    for (float mantissa : {1.0f, 1.2345678f, 1.9999999f}) values.push_back(std::ldexp(mantissa, exponent));
  for (size_t i = values.size(); i-- > 0;) values.push_back(-values[i]);
  std::vector<float> x, y;
  for (float a : values)
    for (float b : values) x.push_back(a), y.push_back(b);
  const int64_t n = static_cast<int64_t>(x.size());
  Tensor on_device = tensor(x, {n}).to(cuda_backend());
  Tensor by = tensor(y, {n}).to(cuda_backend()), quotient = (on_device / by).to_host(),
         root = sqrt(on_device).to_host();
  std::span<const float> quotients = quotient.data<float>(), roots = root.data<float>();
  auto expect_same = [](float got, float wanted, const std::string& what) {
    const bool same = std::isnan(wanted) ? std::isnan(got)
                                         : std::bit_cast<uint32_t>(got) == std::bit_cast<uint32_t>(wanted);
    EXPECT_TRUE(same) << what << ": " << got << ", not " << wanted;
  };
  for (size_t i = 0; i < x.size(); ++i) {
    expect_same(quotients[i], x[i] / y[i], std::to_string(x[i]) + " / " + std::to_string(y[i]));
    expect_same(roots[i], std::sqrt(x[i]), "root of " + std::to_string(x[i]));
  }
}

TEST(CudaEagerTraining, FollowsTheLossesOfTheCpu) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  ExactF32 exact;
  std::vector<double> got = train_eagerly_on(cuda_backend(), 8), wanted = train_eagerly_on(cpu_backend(), 8);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-4 * wanted[i]) << "step " << i;
}

TEST(CudaEagerPrecision, FollowsTheSwitch) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  // 1 + 2^-12 is 1 in TF32; each sum of 1,024 of them is 1,024.25 in f32.
  const Tensor a = (ones({512, 1024}) * (1 + 0x1p-12)).to(cuda_backend()),
               b = ones({1024, 512}).to(cuda_backend());
  auto sum_of = [&] { return matmul(a, b).to(cpu_backend()).data<float>()[0]; };
  EXPECT_EQ(sum_of(), 1024);
  {
    ExactF32 exact;
    EXPECT_EQ(sum_of(), 1024.25F);
  }
  EXPECT_EQ(sum_of(), 1024);
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
