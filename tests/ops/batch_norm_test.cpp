// Batch normalisation: what its output is normalised to, at which numbers it stays exact, what it refuses.
#include "wholestep/ops/batch_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"
#include "support/gradient_check.h"
#include "support/op_case.h"
#include "wholestep/base/philox.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

template <class T>
Tensor normal(const Shape& shape, double mean, double deviation) {
  PhiloxStream stream(1, 2);
  Tensor t = zeros({kDTypeOf<T>, shape});
  for (T& v : t.data<T>()) v = static_cast<T>(mean + deviation * stream.normal());
  return t;
}
Tensor constant(int64_t channels, double value, DType dtype = DType::f32) {
  return full({channels}, value, dtype);
}

TEST(BatchNorm, T45NormalisesEveryChannelToMeanZeroAndVarianceOne) {
  Tensor x = normal<float>({16, 3, 9, 5}, 3, 2) * tensor(std::vector<float>{1, 10, 0.1f}, {3, 1, 1});
  Tensor y = batch_norm(x, constant(3, 1), constant(3, 0)).y;
  for (double mean : as_doubles(mean(y, {0, 2, 3}))) EXPECT_NEAR(mean, 0, 1e-6);
  for (double var : as_doubles(mean(square(y), {0, 2, 3})))
    EXPECT_NEAR(var, 1, 3e-4);  // eps / 0.04 of channel 2
}

TEST(BatchNorm, StaysExactWhereTheMeanIsFarLargerThanTheDeviation) {
  Tensor x = normal<double>({32, 2, 40}, 1e7, 1);
  BatchNormResult result = batch_norm(x, constant(2, 1, DType::f64), constant(2, 0, DType::f64), 0);
  for (double v : as_doubles(mean(square(result.y), {0, 2}))) EXPECT_NEAR(v, 1, 1e-9);
}

TEST(BatchNorm, GivesBetaWhereAChannelHasOneElement) {
  BatchNormResult result =
      batch_norm(tensor(std::vector<float>{3, -4}, {1, 2}), constant(2, 5), constant(2, 0.5));
  EXPECT_THAT(as_doubles(result.y), testing::ElementsAre(0.5, 0.5));
  EXPECT_THAT(as_doubles(result.mean), testing::ElementsAre(3, -4));
  EXPECT_THAT(as_doubles(result.var), testing::ElementsAre(0, 0));
}

TEST(BatchNorm, CarriesGradientsOfItsStatisticsToo) {
  std::vector<Tensor> operands = {normal<double>({5, 2, 3}, 1, 2), constant(2, 1.5, DType::f64),
                                  constant(2, 0.5, DType::f64)};
  EXPECT_TRUE(gradients_agree(
      [](const std::vector<Tensor>& in) {
        BatchNormResult r = batch_norm(in[0], in[1], in[2]);
        return weighted_sum({r.y * r.y, r.mean * r.mean, sqrt(r.var)});
      },
      operands));
  EXPECT_TRUE(gradients_agree(
      [](const std::vector<Tensor>& in) { return weighted_sum({batch_norm(in[0], in[1], in[2]).var}); },
      operands));
}

TEST(BatchNorm, T69RefusesANumberOfFeaturesThatIsNotTheChannels) {
  Tensor x = zeros({DType::f32, {4, 3, 2, 2}});
  Scope scope("layers.1", "");
  expect_error(
      ErrorCode::kUsage,
      {"layers.1", "batch_norm of x f32[4, 3, 2, 2], gamma f32[5]", "expected f32[3]", "num_features"},
      [&] { batch_norm(x, constant(5, 1), constant(5, 0)); });
  expect_error(ErrorCode::kUsage, {"layers.1", "f32[5]", "expected f32[3]"},
               [&] { batch_norm_with(x, constant(3, 1), constant(3, 0), constant(5, 0), constant(5, 1)); });
  expect_error(ErrorCode::kUsage, {"elements in every channel", "f32[0, 3]"}, [&] {
    batch_norm(zeros({DType::f32, {0, 3}}), constant(3, 1), constant(3, 0));
  });
}

}  // namespace
}  // namespace wholestep::test
