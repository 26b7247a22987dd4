// Convolution where earlier systems went wrong: layouts, bias, batches, gradients, messages.
#include "wholestep/ops/conv2d.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/formula.h"
#include "support/gradient_check.h"
#include "support/op_case.h"
#include "wholestep/graph/graph.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/pool2d.h"
#include "wholestep/ops/shape.h"

namespace wholestep::test {
namespace {

template <class T = float>
Tensor images(const Shape& shape, uint32_t stream) {
  return tensor(formula_values<T>(stream, shape.numel()), shape);
}

TEST(Conv2d, T22MatchesTheSumWrittenOutForAsymmetricShapes) {
  constexpr int64_t N = 2, Ci = 3, Co = 5, H = 7, W = 9, K = 3, S = 2, P = 1, Ho = 4, Wo = 5;
  Tensor x = images({N, Ci, H, W}, 1), weight = images({Co, Ci, K, K}, 2), bias = images({Co}, 3);
  Tensor y = conv2d(x, weight, bias, {.stride = {S, S}, .padding = {P, P}});
  ASSERT_EQ(y.shape(), (Shape{N, Co, Ho, Wo}));
  auto xs = x.data<float>(), ws = weight.data<float>(), bs = bias.data<float>(), ys = y.data<float>();
  auto at = [](int64_t i) { return static_cast<size_t>(i); };
  for (int64_t n = 0; n < N; ++n)
    for (int64_t o = 0; o < Co; ++o)
      for (int64_t i = 0; i < Ho; ++i)
        for (int64_t j = 0; j < Wo; ++j) {
          double total = double{bs[at(o)]};
          for (int64_t c = 0; c < Ci; ++c)
            for (int64_t a = 0; a < K; ++a)
              for (int64_t b = 0; b < K; ++b) {
                int64_t h = i * S - P + a, w = j * S - P + b;
                if (h >= 0 && h < H && w >= 0 && w < W)
                  total += double{xs[at(((n * Ci + c) * H + h) * W + w)]} *
                           double{ws[at(((o * Ci + c) * K + a) * K + b)]};
              }
          ASSERT_NEAR(double{ys[at(((n * Co + o) * Ho + i) * Wo + j)]}, total, 2e-6);
        }
}

TEST(Conv2d, T23AddsTheBiasOncePerChannelWhereWidthAndChannelsDiffer) {
  Tensor x = zeros({DType::f32, {2, 3, 4, 7}}), weight = images({5, 3, 1, 1}, 1);
  Tensor bias = tensor(std::vector<float>{1, 2, 3, 4, 5}, {5});
  Tensor y = conv2d(x, weight, bias);
  for (int64_t i = 0; i < y.numel(); ++i)
    ASSERT_EQ(y.data<float>()[static_cast<size_t>(i)], static_cast<float>(i / (4 * 7) % 5 + 1));
}

TEST(Conv2d, T24GivesASampleTheSameBitsInEveryBatch) {
  Tensor all = images({32, 3, 12, 11}, 1), weight = images({6, 3, 3, 3}, 2), bias = images({6}, 3);
  Tensor whole = conv2d(all, weight, bias, {.padding = {1, 1}});
  for (int64_t batch : {1, 7, 16, 32}) {
    Tensor part = conv2d(slice(all, 0, 0, batch), weight, bias, {.padding = {1, 1}});
    EXPECT_TRUE(std::ranges::equal(part.bytes(), whole.bytes().first(part.bytes().size()))) << batch;
  }
}

TEST(Conv2d, T44ComputesEverySampleFromItselfAlone) {
  Tensor x = images({9, 2, 8, 8}, 1), weight = images({4, 2, 5, 5}, 2);
  Tensor before = max_pool2d(conv2d(x, weight), {.kernel = {2, 2}});
  Tensor changed = x.clone();
  changed.data<float>()[5 * 128 + 77] += 1;
  Tensor after = max_pool2d(conv2d(changed, weight), {.kernel = {2, 2}});
  size_t row = before.bytes().size() / 9;
  for (size_t n = 0; n < 9; ++n)
    EXPECT_EQ(std::ranges::equal(before.bytes().subspan(n * row, row), after.bytes().subspan(n * row, row)),
              n != 5)
        << "sample " << n;

  Tensor reversed = concat({slice(x, 0, 5, 9), slice(x, 0, 0, 5)}, 0);
  Tensor y = conv2d(reversed, weight), straight = conv2d(x, weight);
  Tensor expected = concat({slice(straight, 0, 5, 9), slice(straight, 0, 0, 5)}, 0);
  EXPECT_TRUE(std::ranges::equal(y.bytes(), expected.bytes())) << "permuted samples give permuted results";
}

TEST(Conv2d, T40T74GradientsMatchCentralDifferences) {
  std::vector<Tensor> operands = {images<double>({2, 3, 6, 7}, 1), images<double>({4, 3, 3, 2}, 2),
                                  images<double>({4}, 3)};
  EXPECT_TRUE(gradients_agree(
      [](const std::vector<Tensor>& in) {
        Tensor y = conv2d(in[0], in[1], in[2], {.stride = {2, 1}, .padding = {1, 0}});
        return weighted_sum({y * y});
      },
      operands));
}

TEST(Conv2d, SaysWhichOperandsDoNotFit) {
  Tensor x = zeros({DType::f32, {2, 3, 8, 8}});
  auto weight = [](const Shape& shape) { return zeros({DType::f32, shape}); };
  Scope scope("layers.0", "model.cpp:7");
  expect_error(ErrorCode::kUsage,
               {"model.cpp:7: layers.0: conv2d of x f32[2, 3, 8, 8], weight f32[6, 1, 5, 5]",
                "got 3 channels", "expected 1 for weight [6, 1, 5, 5]"},
               [&] {
                 conv2d(x, weight({6, 1, 5, 5}));
               });
  expect_error(ErrorCode::kUsage,
               {"larger than its padded input", "kernel [6, 3, 9, 5] over input [2, 3, 8, 8]"}, [&] {
                 conv2d(x, weight({6, 3, 9, 5}));
               });
  expect_error(ErrorCode::kUsage, {"groups does not divide", "2 groups, 3 input"}, [&] {
    conv2d(x, weight({6, 3, 3, 3}), {}, {.groups = 2});
  });
  expect_error(ErrorCode::kUsage, {"bias", "f32[5]", "f32[6]"}, [&] {
    conv2d(x, weight({6, 3, 3, 3}), weight({5}));
  });
  expect_error(ErrorCode::kUsage, {"[N, C, H, W]", "f32[2, 192]", "reshape()"}, [&] {
    conv2d(reshape(x, {2, 192}), weight({6, 3, 3, 3}));
  });
  expect_error(ErrorCode::kUsage, {"different dtypes", "f64"}, [&] {
    conv2d(x, zeros({DType::f64, {6, 3, 3, 3}}));
  });
  expect_error(ErrorCode::kUsage, {"stride", "at least 1"}, [&] {
    conv2d(x, weight({6, 3, 3, 3}), {}, {.stride = {0, 1}});
  });
  expect_error(ErrorCode::kUsage, {"padding", "at least 0"}, [&] {
    conv2d(x, weight({6, 3, 3, 3}), {}, {.padding = {0, -1}});
  });
}

TEST(Conv2d, T73TracesTheShapesOfLeNet) {
  auto graph = std::make_shared<Graph>();
  Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {64, 1, 28, 28}});
  Tensor y = conv2d(x, zeros({DType::f32, {6, 1, 5, 5}}), {}, {.padding = {2, 2}});
  EXPECT_EQ(y.shape(), (Shape{64, 6, 28, 28}));
  y = max_pool2d(y, {.kernel = {2, 2}});
  EXPECT_EQ(y.shape(), (Shape{64, 6, 14, 14}));
  y = conv2d(y, zeros({DType::f32, {16, 6, 5, 5}}));
  EXPECT_EQ(y.shape(), (Shape{64, 16, 10, 10}));
  y = flatten(max_pool2d(y, {.kernel = {2, 2}}));
  EXPECT_EQ(y.shape(), (Shape{64, 400}));
}

}  // namespace
}  // namespace wholestep::test
