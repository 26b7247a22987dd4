// Matrix products: the shapes that broke earlier systems, bits that do not depend on the batch, messages.
#include "wholestep/ops/matmul.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"
#include "support/formula.h"
#include "support/op_case.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/shape.h"

namespace wholestep::test {
namespace {

/// Every element of op(a) op(b) against its sum in f64.
void expect_product(int64_t m, int64_t n, int64_t k, bool ta, bool tb) {
  auto av = formula_values(1, m * k), bv = formula_values(2, k * n);
  Tensor c =
      matmul(tensor(av, ta ? Shape{k, m} : Shape{m, k}), tensor(bv, tb ? Shape{n, k} : Shape{k, n}), ta, tb);
  ASSERT_EQ(c.shape(), (Shape{m, n}));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double total = 0, magnitude = 0;
      for (int64_t l = 0; l < k; ++l) {
        double product = double{av[static_cast<size_t>(ta ? l * m + i : i * k + l)]} *
                         double{bv[static_cast<size_t>(tb ? j * k + l : l * n + j)]};
        total += product, magnitude += std::abs(product);
      }
      double bound = 4 * 1.2e-7 * std::sqrt(static_cast<double>(k)) * magnitude;
      ASSERT_NEAR(double{c.data<float>()[static_cast<size_t>(i * n + j)]}, total, bound)
          << m << "x" << n << "x" << k << (ta ? " a^T" : "") << (tb ? " b^T" : "") << " at " << i << ", "
          << j;
    }
}

TEST(Matmul, T71WritesEveryElementOfWideDeepAndSquareProducts) {
  for (bool ta : {false, true})
    for (bool tb : {false, true}) {
      expect_product(6, 25, 50176, ta, tb);
      expect_product(6, 50176, 25, ta, tb);
      expect_product(128, 10, 784, ta, tb);
      expect_product(64, 64, 64, ta, tb);
    }
}

TEST(Matmul, T24GivesASampleTheSameBitsInEveryBatch) {
  Tensor x = tensor(formula_values(1, 32 * 84), {32, 84}), w = tensor(formula_values(2, 10 * 84), {10, 84}),
         b = tensor(formula_values(3, 10), {10});
  Tensor whole = linear(x, w, b);
  for (int64_t batch : {1, 7, 16, 32}) {
    Tensor part = linear(slice(x, 0, 0, batch), w, b);
    EXPECT_TRUE(std::ranges::equal(part.bytes(), whole.bytes().first(part.bytes().size()))) << batch;
  }
}

TEST(Matmul, FusedBiasAndReluHaveTheBitsOfSeparateOps) {
  Tensor x = tensor(formula_values(1, 33 * 65), {33, 65}), w = tensor(formula_values(2, 17 * 65), {17, 65}),
         b = tensor(formula_values(3, 17), {17});
  Tensor apart = relu(linear(x, w) + b);
  Tensor fused = apply1(find_op("matmul"), {x, w, b},
                        {{"transpose_a", false}, {"transpose_b", true}, {"activation", "relu"}});
  EXPECT_TRUE(std::ranges::equal(fused.bytes(), apart.bytes()));
}

TEST(Matmul, SaysWhichExtentsDoNotFit) {
  auto of = [](const Shape& shape) { return zeros({DType::f32, shape}); };
  expect_error(ErrorCode::kUsage, {"matmul of a f32[2, 3], b f32[4, 5]", "inner extents", "got 3 and 4"},
               [&] {
                 matmul(of({2, 3}), of({4, 5}));
               });
  expect_error(ErrorCode::kUsage, {"two matrices", "[2, 3, 4]", "flatten()"}, [&] {
    matmul(of({2, 3, 4}), of({4, 5}));
  });
  expect_error(ErrorCode::kUsage, {"bias", "f32[3]", "[5]"}, [&] {
    linear(of({2, 4}), of({5, 4}), of({3}));
  });
  expect_error(ErrorCode::kUsage, {"one floating-point dtype", "f64"}, [&] {
    matmul(of({2, 3}), zeros({DType::f64, {3, 2}}));
  });
}

}  // namespace
}  // namespace wholestep::test
