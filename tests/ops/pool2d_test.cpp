// Pooling: channels and shapes, ties, NaN, the bins of adaptive pooling, messages.
#include "wholestep/ops/pool2d.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>

#include "support/compiled.h"
#include "support/expect_error.h"
#include "support/formula.h"
#include "support/op_case.h"
#include "wholestep/backend/cpu/isa.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/grad.h"
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

TEST(MaxPool2d, GradientsGoToTheFirstMaximumInWindowsOfEverySize) {
  for (Isa isa : available_isas()) {
    set_isa_cap(isa);
    for (int64_t side : {2, 6, 10, 14, 28, 66})
      for (int64_t kernel : {2, 3}) {
        SCOPED_TRACE(fmt::format("{}, side {}, kernel {}", name(isa), side, kernel));
        const Shape shape = {2, 3, side, side};
        if (kernel > side) continue;
        // Few different values, so that maxima tie.
        std::vector<float> values;
        for (int64_t i = 0; i < shape.numel(); ++i) values.push_back(static_cast<float>(i * i % 5) - 2);
        Tensor x = tensor(values, shape).set_requires_grad();
        MaxPool2dResult result = max_pool2d_with_argmax(x, {.kernel = {kernel, kernel}, .stride = {2, 2}});
        std::vector<float> g = formula_values<float>(3, result.y.numel());
        g[0] = kNaN;
        std::vector<float> expected(values.size());
        const int64_t planes = 6, pooled = result.y.numel() / planes;
        for (int64_t i = 0; i < result.y.numel(); ++i)
          expected[static_cast<size_t>(i / pooled * side * side +
                                       result.argmax.data<int32_t>()[static_cast<size_t>(i)])] +=
              g[static_cast<size_t>(i)];
        const Tensor dx =
            grad(std::array{result.y}, std::array{x}, std::array{tensor(g, result.y.shape())})[0];
        for (size_t i = 0; i < expected.size(); ++i)
          if (!std::isnan(expected[i])) ASSERT_EQ(dx.data<float>()[i], expected[i]) << i;
          else ASSERT_TRUE(std::isnan(dx.data<float>()[i])) << i;
      }
  }
  set_isa_cap(detected_isa());
}

// The gradient of ReLU is applied where maxima were chosen, to fewer elements, with the same bits.
TEST(MaxPool2d, MasksOfReluAreAppliedToThePooledGradient) {
  for (int64_t kernel : {2, 3}) {
    auto f = [kernel](const std::vector<Tensor>& in) {
      const Pool2dOptions windows = {.kernel = {kernel, kernel}, .stride = {2, 2}};
      Tensor x = in[0] * 1.0;
      return grad(std::array{max_pool2d(relu(x), windows)}, std::array{x}, std::array{in[1]});
    };
    const Shape shape = {2, 3, 9, 9};
    std::vector<float> values = formula_values<float>(4, shape.numel());
    values[5] = kNaN;
    for (size_t i = 0; i < values.size(); ++i)
      if (i % 3 == 0) values[i] = -values[i];
    const Tensor x = tensor(values, shape), g = tensor(formula_values<float>(5, 2 * 3 * 4 * 4), {2, 3, 4, 4});
    Tensor watched = tensor(values, shape).set_requires_grad();
    const std::vector<Tensor> eager = f({watched, g});
    expect_compiled_gives(f, {x, g}, eager, fmt::format("kernel {}", kernel));

    auto graph = std::make_shared<Graph>();
    Trace trace(graph);
    graph->add_output("dx", f({graph->add_input(InputKind::kBatch, "x", x.type()),
                               graph->add_input(InputKind::kBatch, "g", g.type())})[0]);
    const Plan plan = make_plan(graph);
    for (const Node& node : plan.graph->nodes)
      if (node.op->name == "fused" && node.attrs.text("program").find("where") != std::string::npos) {
        EXPECT_EQ(plan.graph->output_types(node)[0].shape, g.shape()) << "the mask's";
      }
    EXPECT_EQ(plan.graph->nodes.back().op->name, "max_pool2d_dx");
  }
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
  expect_error(ErrorCode::kUsage, {"at least one pixel", "f32[3, 1, 0, 3]"}, [&] {
    adaptive_avg_pool2d(zeros({DType::f32, {3, 1, 0, 3}}), {1, 1});
  });
  expect_error(ErrorCode::kUsage, {"[N, C, H, W]", "f32[4]"}, [&] {
    max_pool2d(zeros({DType::f32, {4}}), {.kernel = {2, 2}});
  });
}

}  // namespace
}  // namespace wholestep::test
