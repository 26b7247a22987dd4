// Reductions: how exact sums are, ties and NaN, and the mean squared error built from them.
#include "wholestep/ops/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/expect_error.h"
#include "support/formula.h"
#include "support/op_case.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep::test {
namespace {

using testing::ElementsAre;

TEST(Sum, IsExactWhereF32AccumulationWouldStop) {
  // 2^24 + 1 is no f32: adding ones to an f32 total would stop at 2^24.
  Tensor ones = full({(1 << 24) + 4}, 1);
  EXPECT_EQ(sum(ones).item<double>(), (1 << 24) + 4);
  EXPECT_EQ(sum(cast(full({300}, 255, DType::i32), DType::u8)).item<int64_t>(), 300 * 255)
      << "integers are widened";
  EXPECT_EQ(sum(ones > 0.0).item<int64_t>(), (1 << 24) + 4) << "bools are counted";
}

TEST(Mean, T57SquaredErrorAndItsGradientAreRightForEveryBatch) {
  for (int64_t batch : {1, 7, 32}) {
    int64_t n = batch * 3;
    auto predicted = formula_values<double>(1, n), target = formula_values<double>(2, n);
    Tensor x = tensor(predicted, {batch, 3}).set_requires_grad();
    Tensor loss = mean(square(x - tensor(target, {batch, 3})));
    loss.backward();
    double expected = 0;
    for (size_t i = 0; i < predicted.size(); ++i) {
      double error = predicted[i] - target[i];
      expected += error * error / static_cast<double>(n);
      EXPECT_NEAR(x.grad().data<double>()[i], 2 * error / static_cast<double>(n), 1e-15);
    }
    EXPECT_NEAR(loss.item<double>(), expected, 1e-15);
  }
}

TEST(Max, SharesTheGradientAmongTiesAndPassesNaNOn) {
  Tensor x = tensor(std::vector<float>{3, 1, 3, 2}, {4}).set_requires_grad();
  max(x).backward();
  EXPECT_THAT(as_doubles(x.grad()), ElementsAre(0.5, 0, 0.5, 0));
  float nan = std::numeric_limits<float>::quiet_NaN();
  Tensor bad = tensor(std::vector<float>{1, nan, 2, 5, 4, 3}, {2, 3});
  EXPECT_TRUE(std::isnan(as_doubles(max(bad, {1}))[0]));
  EXPECT_EQ(as_doubles(max(bad, {1}))[1], 5);
  EXPECT_THAT(as_doubles(argmax(bad, 1)), ElementsAre(1, 0));
  EXPECT_THAT(as_doubles(argmax(tensor(std::vector<float>{2, 7, 7}, {3}), 0)), ElementsAre(1))
      << "the first of equals";
}

TEST(Reduce, NamesAxesThatDoNotFit) {
  Tensor x = zeros({DType::f32, {2, 3}});
  expect_error(ErrorCode::kUsage, {"axis out of range", "got 2", "-2 to 1"}, [&] { sum(x, {2}); });
  expect_error(ErrorCode::kUsage, {"named twice"}, [&] { sum(x, {1, -1}); });
  expect_error(ErrorCode::kUsage, {"largest of no elements", "axis 0"}, [] {
    max(zeros({DType::f32, {0, 3}}), {0});
  });
}

TEST(SumTo, IsTheAdjointOfBroadcasting) {
  Tensor x = tensor(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_THAT(as_doubles(sum_to(x, {3})), ElementsAre(5, 7, 9));
  EXPECT_THAT(as_doubles(sum_to(x, {2, 1})), ElementsAre(6, 15));
  EXPECT_THAT(as_doubles(sum_to(x, {})), ElementsAre(21));
}

}  // namespace
}  // namespace wholestep::test
