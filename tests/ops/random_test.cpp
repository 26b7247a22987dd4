// Random ops: pure functions of (seed, step, node, element), and dropout made of them.
#include "wholestep/ops/random.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/op_case.h"
#include "wholestep/base/philox.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

bool equal_bytes(const Tensor& a, const Tensor& b) { return std::ranges::equal(a.bytes(), b.bytes()); }

TEST(Random, DrawsDifferByStepNodeAndSeedAndRepeatOtherwise) {
  RandomState state(7), same(7), other(8);
  auto draw = [](RandomState& from) {
    UseRandom use(from);
    return random_uniform({1000});
  };
  Tensor first = draw(state), second = draw(state);
  state.advance();
  Tensor next_step = draw(state);
  EXPECT_TRUE(equal_bytes(first, draw(same)));
  EXPECT_FALSE(equal_bytes(first, second));
  EXPECT_FALSE(equal_bytes(first, next_step));
  EXPECT_FALSE(equal_bytes(first, draw(other)));
  for (double v : as_doubles(first)) EXPECT_TRUE(v >= 0 && v < 1);
}

TEST(Dropout, T45ZeroesHalfOfTheUnitsAndIsTheIdentityAtZero) {
  RandomState state(1);
  UseRandom use(state);
  Tensor x = full({100000}, 3);
  int64_t zeroed = 0;
  for (double v : as_doubles(dropout(x, 0.5))) {
    EXPECT_TRUE(v == 0 || v == 6);
    zeroed += v == 0;
  }
  EXPECT_NEAR(static_cast<double>(zeroed), 50000, 2000);
  EXPECT_TRUE(equal_bytes(dropout(x, 0), x));
  EXPECT_EQ(sum(dropout(x, 1)).item<double>(), 0);
}

TEST(Dropout, T47DrawsAnewEachTimeAndKeepsTheExpectation) {
  RandomState state(3);
  UseRandom use(state);
  Tensor x = full({100000}, 1);
  Tensor once = dropout(x, 0.3), twice = dropout(x, 0.3);
  EXPECT_FALSE(equal_bytes(once, twice));
  EXPECT_NEAR(mean(once).item<double>(), 1, 0.01);
}

TEST(Dropout, SendsGradientsThroughWhatItKeptAndScalesThem) {
  RandomState state(5);
  UseRandom use(state);
  Tensor x = full({64}, 2).set_requires_grad();
  Tensor y = dropout(x, 0.25);
  sum(y).backward();
  for (size_t i = 0; i < 64; ++i)
    EXPECT_FLOAT_EQ(x.grad().data<float>()[i], y.data<float>()[i] == 0 ? 0.0f : 1 / 0.75f);
}

TEST(Dropout, RefusesProbabilitiesThatAreNone) {
  Tensor x = full({4}, 1);
  for (double p : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN()})
    expect_error(ErrorCode::kUsage, {"probability", "0 to 1"}, [&] { dropout(x, p); });
}

}  // namespace
}  // namespace wholestep::test
