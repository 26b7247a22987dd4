// Matrix products: the shapes that broke earlier systems, bits that do not depend on the batch, messages.
#include "wholestep/ops/matmul.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"
#include "support/formula.h"
#include "support/gradient_check.h"
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

/// Leading axes that are absent, 1 or 0 on either side, and vectors: the result's shape and every element, by
/// NumPy's rule.
TEST(Matmul, BroadcastsLeadingAxes) {
  struct Case {
    Shape a, b, result;
  };
  for (const auto& [a, b, result] : std::vector<Case>{{{5, 2, 3}, {5, 3, 4}, {5, 2, 4}},
                                                      {{5, 2, 3}, {3, 4}, {5, 2, 4}},
                                                      {{2, 3}, {5, 3, 4}, {5, 2, 4}},
                                                      {{7, 1, 2, 3}, {5, 3, 4}, {7, 5, 2, 4}},
                                                      {{7, 5, 2, 3}, {1, 1, 3, 4}, {7, 5, 2, 4}},
                                                      {{0, 2, 3}, {3, 4}, {0, 2, 4}},
                                                      {{3}, {3}, {}},
                                                      {{3}, {5, 3, 4}, {5, 4}},
                                                      {{5, 2, 3}, {3}, {5, 2}},
                                                      {{2, 0, 3}, {2, 3, 4}, {2, 0, 4}}}) {
    auto av = formula_values(1, a.numel()), bv = formula_values(2, b.numel());
    for (bool ta : {false, true})
      for (bool tb : {false, true}) {
        auto operand = [](const std::vector<float>& values, const Shape& shape, bool transposed) {
          Tensor x = tensor(values, shape);
          if (!transposed || x.rank() < 2) return x;
          std::vector<int64_t> axes;
          for (int i = 0; i < x.rank(); ++i) axes.push_back(i);
          std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
          return permute(x, axes);
        };
        Tensor c = matmul(operand(av, a, ta), operand(bv, b, tb), ta, tb);
        ASSERT_EQ(c.shape(), result);
        int64_t m = a.rank() > 1 ? a[a.rank() - 2] : 1, n = b.rank() > 1 ? b.back() : 1, k = a.back();
        for (int64_t at = 0; at < c.numel(); ++at) {
          // The batch index, split along the result's leading axes, finds each operand's matrix.
          auto matrix = [&](const Shape& shape) {
            int64_t rest = at / (m * n), index = 0, step = 1;
            int leading = shape.rank() - 2, of_result = result.rank() - (a.rank() > 1) - (b.rank() > 1);
            for (int axis = of_result - 1; axis >= 0; --axis) {
              int64_t position = rest % result[axis];
              rest /= result[axis];
              int own = axis - of_result + leading;
              if (own < 0) continue;
              if (shape[own] > 1) index += position * step;
              step *= shape[own];
            }
            return index;
          };
          double total = 0;
          for (int64_t l = 0; l < k; ++l)
            total += double{av[static_cast<size_t>((matrix(a) * m + at / n % m) * k + l)]} *
                     double{bv[static_cast<size_t>((matrix(b) * k + l) * n + at % n)]};
          ASSERT_NEAR(double{c.data<float>()[static_cast<size_t>(at)]}, total, 1e-6)
              << to_string(a) << " x " << to_string(b) << " at " << at;
        }
      }
  }
}

TEST(Matmul, GradientsOfBroadcastProductsAgreeWithCentralDifferences) {
  for (auto [a, b] : std::vector<std::pair<Shape, Shape>>{
           {{2, 3, 4}, {4, 5}}, {{3, 4}, {2, 4, 5}}, {{3, 1, 2, 4}, {2, 4, 3}}, {{4}, {2, 4, 3}}, {{4}, {4}}})
    EXPECT_TRUE(
        gradients_agree([](const std::vector<Tensor>& x) { return weighted_sum({matmul(x[0], x[1])}); },
                        make_operands({.inputs = {{DType::f64, a}, {DType::f64, b}}}), {}))
        << to_string(a) << " x " << to_string(b);
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
    linear(of({2, 3}), of({2, 3, 4}));
  });
  expect_error(ErrorCode::kUsage, {"batch_matmul of a f32[2, 3, 4], b f32[2, 5, 6]", "got 4 and 5"}, [&] {
    matmul(of({2, 3, 4}), of({2, 5, 6}));
  });
  expect_error(ErrorCode::kUsage, {"[2]", "[3]"}, [&] { matmul(of({2, 3, 4}), of({3, 4, 5})); });
  expect_error(ErrorCode::kUsage, {"at least one axis", "f32[]"}, [&] { matmul(of({2, 3}), of({})); });
  expect_error(ErrorCode::kUsage, {"bias", "f32[3]", "[5]"}, [&] {
    linear(of({2, 4}), of({5, 4}), of({3}));
  });
  expect_error(ErrorCode::kUsage, {"one floating-point dtype", "f64"}, [&] {
    matmul(of({2, 3}), zeros({DType::f64, {3, 2}}));
  });
}

}  // namespace
}  // namespace wholestep::test
