// Eager differentiation: what backward() leaves in grad(), and what it refuses.
#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"
#include "support/op_case.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/gradcheck.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"

namespace wholestep::test {
namespace {

using testing::ElementsAre;

Tensor leaf(const std::vector<float>& values) {
  return tensor(values, {static_cast<int64_t>(values.size())}).set_requires_grad();
}

TEST(Backward, AddsToWhatIsThereUntilZeroGrad) {
  Tensor x = leaf({1, 2, 3});
  EXPECT_FALSE(x.grad().defined());
  sum(x * x).backward();
  EXPECT_THAT(as_doubles(x.grad()), ElementsAre(2, 4, 6));
  sum(x * 3.0).backward();
  EXPECT_THAT(as_doubles(x.grad()), ElementsAre(5, 7, 9));
  x.zero_grad();
  EXPECT_FALSE(x.grad().defined());
}

TEST(Backward, CountsEveryPathOfADiamond) {
  Tensor x = leaf({2});
  Tensor shared = x * x, left = shared * 3.0, right = exp(shared) * 0.0 + shared;
  sum(left * right).backward();  // 3 x^4
  EXPECT_THAT(as_doubles(x.grad()), ElementsAre(96));
}

TEST(Backward, CountsAnOperandUsedTwice) {
  Tensor x = leaf({5});
  sum(x + x).backward();
  EXPECT_THAT(as_doubles(x.grad()), ElementsAre(2));
}

TEST(Backward, GivesZerosWhereNothingDependsOnAnInput) {
  Tensor x = leaf({1, 2}), y = leaf({3, 4});
  std::vector<Tensor> wanted = {x, y};
  std::vector<Tensor> grads = grad(sum(square(x)), wanted);
  EXPECT_THAT(as_doubles(grads[0]), ElementsAre(2, 4));
  EXPECT_THAT(as_doubles(grads[1]), ElementsAre(0, 0));
}

TEST(Backward, ReachesTensorsInTheMiddle) {
  Tensor x = leaf({3}), y = x * x, z = sum(y * y);
  std::vector<Tensor> wanted = {y, z};
  std::vector<Tensor> grads = grad(z, wanted);
  EXPECT_EQ(grads[0].item<double>(), 18);
  EXPECT_EQ(grads[1].item<double>(), 1);
}

TEST(Backward, SumsOverWhatWasBroadcast) {
  Tensor x = tensor(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}).set_requires_grad(),
         row = leaf({10, 20, 30});
  Tensor scale = scalar(2).set_requires_grad();
  sum(x * row * scale).backward();
  EXPECT_THAT(as_doubles(row.grad()), ElementsAre(10, 14, 18));
  EXPECT_EQ(scale.grad().item<double>(), 10 + 40 + 90 + 40 + 100 + 180);
  EXPECT_EQ(scale.grad().shape(), Shape{});
}

TEST(Backward, TakesSecondDerivativesWithCreateGraph) {
  Tensor x = leaf({2});
  std::vector<Tensor> wanted = {x};
  Tensor first = grad(sum(x * x * x), wanted, true)[0];
  EXPECT_EQ(first.item<double>(), 12);
  EXPECT_EQ(grad(sum(first), wanted)[0].item<double>(), 12);
  EXPECT_FALSE(grad(sum(x * x * x), wanted)[0].requires_grad()) << "without create_graph nothing is taped";
}

TEST(Backward, StopsAtNoGradAndDetach) {
  Tensor x = leaf({3});
  Tensor hidden;
  {
    NoGrad no_grad;
    EXPECT_FALSE(grad_enabled());
    hidden = x * 2.0;
  }
  EXPECT_TRUE(grad_enabled());
  EXPECT_FALSE(hidden.requires_grad());
  sum(x * hidden).backward();
  EXPECT_EQ(x.grad().item<double>(), 6);
}

TEST(Backward, TreatsADetachedLeafAsAnotherTensor) {
  Tensor x = leaf({3});
  sum(x * x.detach()).backward();
  EXPECT_EQ(x.grad().item<double>(), 3) << "the detached factor is a constant";
  x.zero_grad();
  Tensor y = x * x;
  sum(y * y.detach()).backward();
  EXPECT_EQ(x.grad().item<double>(), 54);
}

TEST(Backward, NamesTheOpWithoutAGradientRule) {
  Tensor x = leaf({1, 2});
  static const OpDef opaque = [] {
    OpDef row = find_op("neg");
    row.name = "opaque";
    row.vjp = nullptr;
    row.kernels = {
        {.backend = "cpu", .name = "negate", .prepare = [](const KernelRequest& request) {
           return find_op("neg").kernels[0].prepare({"neg", request.inputs, request.outputs, request.attrs});
         }}};
    return row;
  }();
  Scope scope("layers.3", "");
  Tensor y = sum(apply1(opaque, {x}));
  try {
    y.backward();
    FAIL() << "no error was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_STREQ(
        error.what(),
        "opaque has no gradient rule (layers.3). Hint: detach() its input if no gradient should pass here");
  }
}

TEST(Backward, RefusesAnythingButOneFloatingNumber) {
  Tensor x = leaf({1, 2});
  expect_error(ErrorCode::kUsage, {"f32[2]", "sum()"}, [&] { (x * x).backward(); });
  expect_error(ErrorCode::kUsage, {"i64[]"}, [] { sum(tensor(std::vector<int64_t>{1}, {1})).backward(); });
  expect_error(ErrorCode::kUsage, {"floating-point", "i32[1]"},
               [] { tensor(std::vector<int32_t>{1}, {1}).set_requires_grad(); });
}

TEST(Backward, RefusesValuesOverwrittenInPlace) {
  Tensor x = leaf({1, 2}), factor = leaf({3, 4});
  Tensor loss = sum(x * factor);
  factor.assign(x);
  expect_error(ErrorCode::kUsage, {"overwritten in place", "mul"}, [&] { loss.backward(); });

  Tensor y = exp(x), total = sum(y);  // exp's rule reads its result
  y.assign(x);
  expect_error(ErrorCode::kUsage, {"overwritten in place"}, [&] { total.backward(); });
}

TEST(Backward, GoesThroughChainsOfAnyLength) {
  Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 50000; ++i) y = y + x;
  sum(y).backward();
  EXPECT_EQ(x.grad().item<double>(), 50001);
}  // and the chain is destroyed without running out of stack

TEST(Backward, TakesTheGradientOfEveryElementWhereItIsGiven) {
  Tensor x = leaf({1, 2, 3});
  (x * x).backward(tensor(std::vector<float>{1, 10, 100}, {3}));
  EXPECT_THAT(as_doubles(x.grad()), ElementsAre(2, 40, 600));
  expect_error(ErrorCode::kUsage, {"the gradient of an output has its dtype and shape", "f32[]", "f32[3]"},
               [&] { (x * x).backward(scalar(1)); });
}

TEST(Backward, AddsTheGradientsOfSeveralOutputs) {
  Tensor x = leaf({1, 2}), y = x * x, z = sum(y) * 3.0;
  std::vector<Tensor> outputs = {y, z}, wanted = {x, y},
                      seeds = {tensor(std::vector<float>{1, 10}, {2}), Tensor()};
  std::vector<Tensor> grads = grad(outputs, wanted, seeds);
  EXPECT_THAT(as_doubles(grads[0]), ElementsAre(2 + 6, 40 + 12));
  EXPECT_THAT(as_doubles(grads[1]), ElementsAre(1 + 3, 10 + 3));
  expect_error(ErrorCode::kUsage, {"one gradient is needed for each output: got 1, expected 2"},
               [&] { grad(outputs, wanted, std::span(seeds.data(), 1)); });
}

TEST(Backward, VisitsEveryNodeOnceInReverseTopologicalOrder) {
  static std::vector<int64_t> visited;
  static const OpDef row = [] {
    OpDef noted = find_op("square");
    noted.name = "noted";
    noted.kernels = {{.backend = "cpu", .name = "noted", .prepare = [](const KernelRequest& q) {
                        return find_op("square").kernels[0].prepare({"square", q.inputs, q.outputs, q.attrs});
                      }}};
    noted.vjp = [](const OpRecord& r, std::span<const Tensor> g) -> std::vector<Tensor> {
      visited.push_back(r.attrs.integer("number"));
      return {g[0] * 2.0 * r.inputs[0]};
    };
    return noted;
  }();
  auto square_of = [&](const Tensor& x, int number) { return apply1(row, {x}, {{"number", number}}); };
  Tensor x = leaf({1.5});
  Tensor a = square_of(x, 0), b = square_of(a, 1), c = square_of(a, 2), d = square_of(b + c, 3);
  sum(d + a).backward();
  EXPECT_THAT(visited, ElementsAre(3, 2, 1, 0));
  // d = (2 x^4)^2 and a = x^2
  EXPECT_NEAR(x.grad().item<double>(), 32 * std::pow(1.5, 7) + 3, 1e-3);
}

/// The whole message of the error that `action` throws.
template <class Action>
std::string message_of(Action&& action) {
  try {
    action();
    return "no error";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(Backward, SaysWhatIsWrongWordForWord) {
  Tensor x = leaf({1, 2}), factor = leaf({3, 4});
  EXPECT_EQ(
      message_of([&] { (x * x).backward(); }),
      "a gradient is taken of one floating-point number: got f32[2]. Hint: reduce it first: sum() or mean(), "
      "or say the gradient of every element");
  Tensor loss = sum(x * factor);
  factor.assign(x);
  EXPECT_EQ(
      message_of([&] { loss.backward(); }),
      "a value needed for the gradient was overwritten in place (operand 1 of mul). Hint: assign() after "
      "backward(), or clone() first");
  EXPECT_EQ(message_of([&] { sum(floor(x)).backward(); }), "no error") << "floor has a gradient of zero";
  EXPECT_EQ(message_of([] { tensor(std::vector<int32_t>{1}, {1}).set_requires_grad(); }),
            "only floating-point tensors can require a gradient: got i32[1]");
  EXPECT_EQ(message_of([&] { x.item<float>(); }),
            "item() of a tensor that is not a single element: got f32[2]");
  EXPECT_EQ(message_of([&] { x.data<double>(); }),
            "tensor data read as another dtype: got f64, expected f32");
  EXPECT_EQ(message_of([&] { x.at<float>({2}); }),
            "no element has this index: got {index=[2]}, expected one within [2]");
  EXPECT_EQ(message_of([&] {
              x.assign(leaf({1, 2, 3}));
            }),
            "assign() needs a value of the same dtype and shape: got f32[3], expected f32[2]");
  EXPECT_EQ(message_of([] { Tensor().shape(); }), "an undefined tensor was used");
}

TEST(Gradcheck, FindsAWrongRuleAndSaysWhere) {
  static const OpDef wrong = [] {
    OpDef row = find_op("square");
    row.name = "wrong";
    row.kernels = {{.backend = "cpu", .name = "wrong", .prepare = [](const KernelRequest& q) {
                      return find_op("square").kernels[0].prepare({"square", q.inputs, q.outputs, q.attrs});
                    }}};
    row.vjp = [](const OpRecord& r, std::span<const Tensor> g) -> std::vector<Tensor> {
      return {g[0] * 2.001 * r.inputs[0]};
    };
    return row;
  }();
  Tensor x = tensor(std::vector<double>{1, 2}, {2});
  gradcheck([](const std::vector<Tensor>& in) { return sum(square(in[0])); }, {x});
  expect_error(
      ErrorCode::kFailure,
      {"a gradient is not the derivative (element 0 of f64[2]): got gradient 2.001, expected 2"},
      [&] { gradcheck([](const std::vector<Tensor>& in) { return sum(apply1(wrong, {in[0]})); }, {x}); });
}

TEST(Backward, T40MatchesWrittenOutGradientsOfALinearLayer) {
  // y = x w^T + b with asymmetric extents, so that a wrong transpose cannot pass: dx = g w, dw = g^T x.
  Tensor x = tensor(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}).set_requires_grad();
  Tensor w = tensor(std::vector<float>{1, 0, 2, -1, 3, 1, 0, 1, 1, 2, 2, 2}, {4, 3}).set_requires_grad();
  Tensor b = tensor(std::vector<float>{0, 1, 2, 3}, {4}).set_requires_grad();
  Tensor g = tensor(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}, {2, 4});
  sum(linear(x, w, b) * g).backward();
  EXPECT_THAT(as_doubles(x.grad()), ElementsAre(7, 17, 15, 15, 41, 39));
  EXPECT_THAT(as_doubles(w.grad()), ElementsAre(21, 27, 33, 26, 34, 42, 31, 41, 51, 36, 48, 60));
  EXPECT_THAT(as_doubles(b.grad()), ElementsAre(6, 8, 10, 12));
}

}  // namespace
}  // namespace wholestep::test
