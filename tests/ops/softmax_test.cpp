// Softmax and cross-entropy: known losses, label types, bad labels, infinities.
#include "wholestep/ops/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/expect_error.h"
#include "support/formula.h"
#include "support/op_case.h"
#include "wholestep/graph/graph.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"

namespace wholestep::test {
namespace {

Tensor labels_of(std::vector<int64_t> labels, DType dtype = DType::i64) {
  return converted(tensor(labels, {static_cast<int64_t>(labels.size())}), dtype);
}

TEST(CrossEntropy, T4IsNothingForCertainAndRightAndFortyForCertainAndWrong) {
  Tensor logits = tensor(std::vector<float>{20, -20, -20, -20, 20, -20}, {2, 3});
  EXPECT_LT(cross_entropy(logits, labels_of({0, 1})).item<double>(), 1e-6);
  EXPECT_NEAR(cross_entropy(logits, labels_of({1, 2})).item<double>(), 40, 1e-4);
}

TEST(CrossEntropy, IsLnKForEqualLogits) {
  for (int64_t classes : {2, 10, 1000})
    EXPECT_NEAR(cross_entropy(zeros({DType::f32, {3, classes}}), labels_of({0, 1, 1})).item<double>(),
                std::log(static_cast<double>(classes)), 1e-6);
}

TEST(CrossEntropy, T26TakesEveryIntegerLabelAndNamesTheTypeOfOthers) {
  Tensor logits = tensor(formula_values(1, 12), {4, 3});
  double expected = cross_entropy(logits, labels_of({0, 2, 1, 2})).item<double>();
  for (DType dtype : {DType::u8, DType::i32, DType::i64})
    EXPECT_EQ(cross_entropy(logits, labels_of({0, 2, 1, 2}, dtype)).item<double>(), expected) << name(dtype);
  for (DType dtype : {DType::f32, DType::f64, DType::boolean})
    expect_error(ErrorCode::kUsage, {"integer class labels", std::string(name(dtype)) + "[4]", "MSELoss"},
                 [&] {
                   cross_entropy(logits, labels_of({0, 1, 1, 0}, dtype));
                 });
  expect_error(ErrorCode::kUsage, {"i64[4]"}, [&] {
    cross_entropy(converted(logits, DType::i64), labels_of({0, 1, 1, 0}));
  });
}

TEST(CrossEntropy, T37OfABatchIsTheMeanOfTheLossesOfItsSamples) {
  Tensor logits = tensor(formula_values<double>(1, 7 * 5), {7, 5});
  std::vector<int64_t> labels = formula_labels(2, 7, 5);
  double total = 0;
  for (int64_t n = 0; n < 7; ++n)
    total +=
        cross_entropy(slice(logits, 0, n, n + 1), labels_of({labels[static_cast<size_t>(n)]})).item<double>();
  EXPECT_NEAR(cross_entropy(logits, labels_of(labels)).item<double>(), total / 7, 1e-14);
}

TEST(CrossEntropy, T67NamesTheSampleWhoseLabelIsInvalid) {
  Tensor logits = zeros({DType::f32, {4, 3}});
  expect_error(ErrorCode::kUsage, {"labels[2]", "got -1", "0 to 2"}, [&] {
    cross_entropy(logits, labels_of({0, 1, -1, 7}));
  });
  expect_error(ErrorCode::kUsage, {"labels[3]", "got 3", "0 to 2"}, [&] {
    cross_entropy(logits, labels_of({0, 1, 2, 3}, DType::u8));
  });
  expect_error(ErrorCode::kUsage, {"one label a sample", "[3]", "[4]"}, [&] {
    cross_entropy(logits, labels_of({0, 1, 2}));
  });
}

TEST(CrossEntropy, T67GivesNaNForAnInvalidLabelInsideAStepAndTouchesNothingElse) {
  // A step cannot throw; the op itself, as a plan runs it.
  Tensor logits = tensor(formula_values(1, 6), {2, 3}), labels = labels_of({1, 1000000});
  Tensor losses = apply1(find_op("cross_entropy"), {logits, labels});
  EXPECT_TRUE(std::isfinite(losses.data<float>()[0]));
  EXPECT_TRUE(std::isnan(losses.data<float>()[1]));
}

TEST(Softmax, SurvivesLogitsOfAnySize) {
  float huge = 3e38f, infinite = std::numeric_limits<float>::infinity();
  EXPECT_THAT(as_doubles(softmax(tensor(std::vector<float>{huge, -huge, huge}, {3}))),
              testing::ElementsAre(0.5, 0, 0.5));
  EXPECT_THAT(as_doubles(log_softmax(tensor(std::vector<float>{1000, 0}, {2}))),
              testing::ElementsAre(0, -1000));
  EXPECT_THAT(as_doubles(softmax(tensor(std::vector<float>{-infinite, 1}, {2}))), testing::ElementsAre(0, 1));
}

TEST(Softmax, ShowsNaNAndInfinityInsteadOfHidingThem) {
  float infinite = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (float bad : {infinite, nan})
    for (size_t place : {size_t{0}, size_t{1}, size_t{20}}) {
      std::vector<float> row(21, 1.0f);
      row[place] = bad;
      Tensor x = tensor(row, {1, 21});
      EXPECT_TRUE(std::isnan(as_doubles(softmax(x))[place])) << bad << " at " << place;
      EXPECT_TRUE(std::isnan(sum(softmax(x)).item<double>()));
      EXPECT_FALSE(std::isfinite(cross_entropy(x, labels_of({2})).item<double>()));
    }
}

TEST(Softmax, RunsAlongAnyAxis) {
  Tensor x = tensor(formula_values<double>(1, 24), {2, 3, 4});
  for (int64_t axis : {0, 1, 2, -3})
    for (double total : as_doubles(sum(softmax(x, axis), {axis}))) EXPECT_NEAR(total, 1, 1e-15);
}

}  // namespace
}  // namespace wholestep::test
