// Pooling: channels and shapes, ties, NaN, the bins of adaptive pooling, messages.
#include "wholestep/ops/pool2d.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/expect_error.h"
#include "support/op_case.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

using testing::ElementsAre;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(MaxPool2d, T73HandlesSeveralChannelsAndSidesThatDiffer) {
  std::vector<float> values(2 * 2 * 4);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7 % 16);
  // channel 0: 0 7 14 5 / 12 3 10 1; channel 1: 8 15 6 13 / 4 11 2 9
  MaxPool2dResult result = max_pool2d_with_argmax(tensor(values, {1, 2, 2, 4}), {.kernel = {2, 2}});
  EXPECT_EQ(result.y.shape(), (Shape{1, 2, 1, 2}));
  EXPECT_THAT(as_doubles(result.y), ElementsAre(12, 14, 15, 13));
  EXPECT_THAT(as_doubles(result.argmax), ElementsAre(4, 2, 1, 3)) << "positions within their own plane";
}

TEST(MaxPool2d, PassesNaNOnAndSendsTheGradientThere) {
  Tensor x = tensor(std::vector<float>{1, kNaN, 3, 4, 5, 6, kNaN, 8}, {1, 1, 2, 4}).set_requires_grad();
  Tensor y = max_pool2d(x, {.kernel = {2, 2}});
  for (double v : as_doubles(y)) EXPECT_TRUE(std::isnan(v));
  sum(y * tensor(std::vector<float>{2, 3}, {1, 1, 1, 2})).backward();
  EXPECT_THAT(as_doubles(x.grad()), ElementsAre(0, 2, 0, 0, 0, 0, 3, 0));
}

TEST(MaxPool2d, TakesTheFirstOfEqualsAndNegativeInfinityForWhatItIs) {
  float lowest = -std::numeric_limits<float>::infinity();
  MaxPool2dResult equal =
      max_pool2d_with_argmax(tensor(std::vector<float>{7, 7, 7, 7}, {1, 1, 2, 2}), {.kernel = {2, 2}});
  EXPECT_THAT(as_doubles(equal.argmax), ElementsAre(0));
  MaxPool2dResult empty =
      max_pool2d_with_argmax(tensor(std::vector<float>{lowest, lowest, lowest, lowest}, {1, 1, 2, 2}),
                             {.kernel = {2, 2}, .padding = {1, 1}});
  EXPECT_THAT(as_doubles(empty.argmax), ElementsAre(0, 1, 2, 3)) << "padding is never the maximum";
}

TEST(AvgPool2d, CountsPaddingAndAdaptiveBinsDoNot) {
  Tensor x = tensor(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 1, 3, 3});
  EXPECT_THAT(as_doubles(avg_pool2d(x, {.kernel = {2, 2}, .padding = {1, 1}})),
              ElementsAre(0.25, 1.25, 2.75, 7));  // 1/4, (2+3)/4, (4+7)/4, (5+6+8+9)/4
  EXPECT_THAT(as_doubles(adaptive_avg_pool2d(x, {2, 2})), ElementsAre(3, 4, 6, 7))
      << "bins overlap: rows 0-1, 1-2";
  EXPECT_THAT(as_doubles(adaptive_avg_pool2d(x, {1, 1})), ElementsAre(5));
}

TEST(Pool2d, SaysWhichWindowsDoNotFit) {
  Tensor x = zeros({DType::f32, {1, 2, 4, 4}});
  expect_error(ErrorCode::kUsage,
               {"max_pool2d of x f32[1, 2, 4, 4]", "larger than its padded input", "kernel 5"}, [&] {
                 max_pool2d(x, {.kernel = {5, 2}});
               });
  expect_error(ErrorCode::kUsage, {"more than half its kernel", "got 2", "at most 1"}, [&] {
    max_pool2d(x, {.kernel = {2, 2}, .padding = {2, 0}});
  });
  expect_error(ErrorCode::kUsage, {"kernel", "at least 1"}, [&] { avg_pool2d(x, {.kernel = {0, 2}}); });
  expect_error(ErrorCode::kUsage, {"size", "at least 1"}, [&] { adaptive_avg_pool2d(x, {0, 2}); });
  expect_error(ErrorCode::kUsage, {"[N, C, H, W]", "f32[4]"}, [&] {
    max_pool2d(zeros({DType::f32, {4}}), {.kernel = {2, 2}});
  });
}

}  // namespace
}  // namespace wholestep::test
