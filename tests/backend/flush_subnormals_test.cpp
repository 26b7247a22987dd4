// Results below the smallest normal number are zero, in every thread that computes and in no other.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep {
namespace {

TEST(FlushSubnormals, AResultBelowTheSmallestNormalNumberIsZeroInEveryThread) {
  const int threads = default_pool().threads();
  constexpr int64_t kElements = 1 << 20;  // enough for every thread to have a share
  for (int n : {1, 2, 3}) {
    set_threads(n);
    Tensor small = full({kElements}, 1e-20) * full({kElements}, 1e-20);
    Tensor normal = full({kElements}, 1e-20) * full({kElements}, 1e-17);
    int64_t not_zero = 0, not_normal = 0;
    for (float x : small.data<float>()) not_zero += x != 0;
    for (float x : normal.data<float>()) not_normal += x != 1e-20f * 1e-17f;
    EXPECT_EQ(not_zero, 0) << n << " threads";
    EXPECT_EQ(not_normal, 0) << n << " threads";
  }
  set_threads(threads);
}

TEST(FlushSubnormals, TheCallersOwnArithmeticStaysAsItWas) {
  exp(full({8}, 1.0));
  volatile float half = std::numeric_limits<float>::min();
  half = half / 2;
  EXPECT_EQ(std::fpclassify(half), FP_SUBNORMAL);
}

}  // namespace
}  // namespace wholestep
