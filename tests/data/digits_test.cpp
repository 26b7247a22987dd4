// The generated digits: pure functions of seed and index, balanced, and too hard for a linear model.
#include "wholestep/data/digits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "support/expect_error.h"
#include "wholestep/data/sampler.h"

namespace wholestep {
namespace {

using test::expect_error;

std::vector<uint8_t> pixels_of(uint64_t seed, DigitsPart part, int64_t index, int32_t* label = nullptr) {
  std::vector<uint8_t> pixels(784);
  int32_t drawn = draw_digit(seed, part, index, pixels);
  if (label) *label = drawn;
  return pixels;
}

TEST(Digits, ASampleDependsOnSeedPartAndIndexOnly) {
  DataSplits few = make_digits({.train = 20, .test = 10, .seed = 5}),
             many = make_digits({.train = 50, .test = 10, .seed = 5});
  std::vector<uint8_t> a(784), b(784);
  for (int64_t i = 0; i < 20; ++i) {
    few.train->read(i, a);
    many.train->read(i, b);
    int32_t label = -1;
    EXPECT_EQ(a, b);
    EXPECT_EQ(a, pixels_of(5, DigitsPart::kTrain, i, &label));
    EXPECT_EQ(label, few.train->label(i));
  }
  EXPECT_NE(pixels_of(5, DigitsPart::kTrain, 0), pixels_of(5, DigitsPart::kTest, 0));
  EXPECT_NE(pixels_of(5, DigitsPart::kTrain, 0), pixels_of(6, DigitsPart::kTrain, 0));
  EXPECT_NE(pixels_of(5, DigitsPart::kTrain, 0), pixels_of(5, DigitsPart::kTrain, 1));
}

TEST(Digits, ClassesAreBalancedAndEveryPictureHoldsInk) {
  DataSplits digits = make_digits({.train = 5000, .test = 1});
  std::array<int, 10> counts{};
  std::vector<uint8_t> pixels(784);
  for (int64_t i = 0; i < 5000; ++i) {
    ++counts[static_cast<size_t>(digits.train->label(i))];
    digits.train->read(i, pixels);
    EXPECT_GE(std::ranges::count_if(pixels, [](uint8_t v) { return v > 100; }), 15) << i;
    EXPECT_LE(std::ranges::count_if(pixels, [](uint8_t v) { return v > 100; }), 330) << i;
  }
  for (int count : counts) EXPECT_NEAR(count, 500, 100);
  expect_error(ErrorCode::kBadConfig, {"train", "-1"}, [] { make_digits({.train = -1}); });
}

// Softmax regression by mini-batch gradient descent with momentum, written out.
class LinearModel {
 public:
  void train(const ResidentSamples& data, int64_t epochs) {
    const int64_t n = static_cast<int64_t>(data.labels.size());
    std::vector<int64_t> order(static_cast<size_t>(n));
    for (int64_t epoch = 0; epoch < epochs; ++epoch) {
      epoch_order(1, epoch, true, order);
      float rate = 0.02f * (1 - static_cast<float>(epoch) / static_cast<float>(epochs));
      for (int64_t i : order) step(data, static_cast<size_t>(i), rate);
    }
  }
  double accuracy(const ResidentSamples& data) {
    size_t right = 0;
    for (size_t i = 0; i < data.labels.size(); ++i) {
      std::array<float, 10> z = logits(data, i);
      right += std::ranges::max_element(z) - z.begin() == data.labels[i];
    }
    return static_cast<double>(right) / static_cast<double>(data.labels.size());
  }

 private:
  std::array<float, 10> logits(const ResidentSamples& data, size_t i) {
    for (size_t j = 0; j < 784; ++j) x_[j] = static_cast<float>(data.pixels[i * 784 + j]) / 255 - 0.12f;
    std::array<float, 10> z = bias_;
    for (size_t j = 0; j < 784; ++j)
      for (size_t k = 0; k < 10; ++k) z[k] += weight_[j][k] * x_[j];
    return z;
  }
  void step(const ResidentSamples& data, size_t i, float rate) {
    std::array<float, 10> p = logits(data, i);
    float top = *std::ranges::max_element(p), sum = 0;
    for (float& v : p) sum += v = std::exp(v - top);
    for (float& v : p) v *= -rate / sum;
    p[static_cast<size_t>(data.labels[i])] += rate;
    for (size_t k = 0; k < 10; ++k) bias_[k] += p[k];
    for (size_t j = 0; j < 784; ++j)
      for (size_t k = 0; k < 10; ++k) weight_[j][k] += p[k] * x_[j];
  }
  std::array<std::array<float, 10>, 784> weight_{};
  std::array<float, 10> bias_{};
  std::array<float, 784> x_{};
};

TEST(Digits, ALinearModelStaysUnder95Percent) {
  DataSplits digits = make_digits();
  auto model = std::make_unique<LinearModel>();
  model->train(*digits.train->resident(), 8);
  double accuracy = model->accuracy(*digits.test->resident());
  RecordProperty("accuracy", std::to_string(accuracy));
  EXPECT_GT(accuracy, 0.75);  // it does learn
  EXPECT_LT(accuracy, 0.95);
}

}  // namespace
}  // namespace wholestep
