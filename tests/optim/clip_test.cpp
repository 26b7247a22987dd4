// Clipping by norm and the check for non-finite gradients.
#include "wholestep/optim/clip.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include "wholestep/ops/elementwise.h"

#include "support/expect_error.h"
#include "support/formula.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::formula_values;

std::vector<Tensor> two_gradients() {
  return {tensor(formula_values<double>(1, 6), {2, 3}), tensor(formula_values<double>(2, 4), {4})};
}

double norm_by_hand() {
  double squares = 0;
  for (double v : formula_values<double>(1, 6)) squares += v * v;
  for (double v : formula_values<double>(2, 4)) squares += v * v;
  return std::sqrt(squares);
}

TEST(Clip, ScalesAllGradientsByTheirCommonNorm) {
  std::vector<Tensor> grads = two_gradients();
  double norm = norm_by_hand(), max_norm = norm / 3;
  auto clipped = optim::clip_grad_norm(grads, max_norm);
  EXPECT_NEAR(clipped.norm.item<double>(), norm, 1e-14);
  for (size_t g = 0; g < 2; ++g)
    for (size_t i = 0; i < static_cast<size_t>(grads[g].numel()); ++i)
      EXPECT_NEAR(clipped.grads[g].data<double>()[i], grads[g].data<double>()[i] * (max_norm / (norm + 1e-6)),
                  1e-15);
}

TEST(Clip, LeavesSmallGradientsAlone) {
  std::vector<Tensor> grads = two_gradients();
  auto clipped = optim::clip_grad_norm(grads, 100);
  for (size_t g = 0; g < 2; ++g)
    for (size_t i = 0; i < static_cast<size_t>(grads[g].numel()); ++i)
      EXPECT_EQ(clipped.grads[g].data<double>()[i], grads[g].data<double>()[i]);
  expect_error(ErrorCode::kUsage, {"norm above 0", "got 0"}, [&] { optim::clip_grad_norm(grads, 0); });
  expect_error(ErrorCode::kUsage, {"norm above 0", "nan"},
               [&] { optim::clip_grad_norm(grads, std::nan("")); });
}

TEST(Clip, LimitsElementsOnBothSides) {
  std::vector<Tensor> grads = two_gradients(), clipped = optim::clip_grad_value(grads, 0.3);
  for (size_t g = 0; g < 2; ++g)
    for (size_t i = 0; i < static_cast<size_t>(grads[g].numel()); ++i)
      EXPECT_EQ(clipped[g].data<double>()[i], std::clamp(grads[g].data<double>()[i], -0.3, 0.3));
  grads[0].data<double>()[1] = std::nan("");
  EXPECT_TRUE(std::isnan(optim::clip_grad_value(grads, 0.3)[0].data<double>()[1]));
  expect_error(ErrorCode::kUsage, {"value above 0", "got 0"}, [&] { optim::clip_grad_value(grads, 0); });
}

TEST(Clip, OneBadElementAnywhereIsFound) {
  for (double bad : {std::nan(""), double{INFINITY}, -double{INFINITY}})
    for (int64_t at : {0, 7, 1030}) {
      std::vector<Tensor> grads = {tensor(formula_values<float>(1, 1031), {1031}),
                                   tensor(formula_values<float>(2, 1031), {1031})};
      EXPECT_TRUE(optim::all_finite(grads).item<bool>());
      grads[1].data<float>()[static_cast<size_t>(at)] = static_cast<float>(bad);
      EXPECT_FALSE(optim::all_finite(grads).item<bool>()) << bad << " at " << at;
    }
  std::vector<Tensor> both = {full({2}, INFINITY), full({2}, -INFINITY)};
  EXPECT_FALSE(optim::all_finite(both).item<bool>());
}

}  // namespace
}  // namespace wholestep
