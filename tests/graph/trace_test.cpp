// Tracing: the same function over symbolic tensors becomes a graph, with parameters and states as inputs and
// assignments as updates.
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/graph_interpreter.h"
#include "support/op_case.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/softmax.h"

namespace wholestep::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensor parameter(const std::vector<float>& values, const Shape& shape, const std::string& name) {
  return tensor(values, shape).set_role(TensorRole::kParameter, name).set_requires_grad();
}

Tensor loss_of(const Tensor& x, const Tensor& labels, const Tensor& w, const Tensor& b) {
  return cross_entropy(tanh(linear(x, w, b)), labels);
}

TEST(Trace, GivesTheValuesAndGradientsOfTheSameFunctionRunEagerly) {
  Tensor w = parameter({0.5, -1, 2, 0.25, 1, -0.5}, {2, 3}, "w"), b = parameter({0.1f, -0.2f}, {2}, "b");
  Tensor x = tensor(std::vector<float>{1, 2, 3, -1, 0, 1}, {2, 3}),
         labels = tensor(std::vector<int64_t>{1, 0}, {2});

  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    Tensor loss = loss_of(graph->add_input(InputKind::kBatch, "x", x.type()),
                          graph->add_input(InputKind::kBatch, "labels", labels.type()), w, b);
    EXPECT_TRUE(loss.symbolic());
    std::vector<Tensor> wanted = {w, b};
    std::vector<Tensor> grads = grad(loss, wanted);
    graph->add_output("loss", loss);
    graph->add_output("dw", grads[0]);
    graph->add_output("db", grads[1]);
  }
  verify(*graph);
  std::vector<Tensor> traced = interpret(*graph, {{"x", x}, {"labels", labels}});

  Tensor loss = loss_of(x, labels, w, b);
  loss.backward();
  EXPECT_EQ(as_doubles(traced[0]), as_doubles(loss));
  EXPECT_EQ(as_doubles(traced[1]), as_doubles(w.grad()));
  EXPECT_EQ(as_doubles(traced[2]), as_doubles(b.grad()));
}

TEST(Trace, CapturesEveryParameterAndStateOnce) {
  Tensor w = parameter({1, 2}, {2}, "w");
  Tensor count = scalar(0, DType::i64).set_role(TensorRole::kState, "count");
  Tensor table = tensor(std::vector<float>{5, 6}, {2});
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  Tensor y = w * w + table + cast(count, DType::f32) + table * cast(count, DType::f32) + w.detach();
  ASSERT_EQ(graph->inputs.size(), 3u);
  EXPECT_EQ(graph->inputs[0].name, "w");
  EXPECT_EQ(graph->inputs[0].kind, InputKind::kParameter);
  EXPECT_EQ(graph->inputs[0].binding.impl(), w.impl());
  std::vector<InputKind> kinds;
  for (const GraphInput& input : graph->inputs) kinds.push_back(input.kind);
  EXPECT_THAT(kinds,
              testing::UnorderedElementsAre(InputKind::kParameter, InputKind::kConstant, InputKind::kState));
}

TEST(Trace, DoesNotReadOrChangeTheValuesItCaptures) {
  Tensor w = parameter({1, 2}, {2}, "w");
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    w.assign(w * 2.0);
    w.assign(w + 1.0);
    graph->add_output("w", w * 10.0);
  }
  EXPECT_THAT(as_doubles(w), ElementsAre(1, 2));
  EXPECT_EQ(graph->updates.size(), 1u) << "the last assignment counts";
  EXPECT_THAT(as_doubles(interpret(*graph, {})[0]), ElementsAre(30, 50))
      << "reads see assignments before them";
  EXPECT_THAT(as_doubles(w), ElementsAre(3, 5));
}

TEST(Trace, StopsGradientsWhereEagerExecutionDoes) {
  auto loss_of_w = [](const Tensor& w) {
    Tensor hidden;
    {
      NoGrad no_grad;
      hidden = w * 2.0;
    }
    Tensor product = w * hidden;
    return sum(product * product.detach() + w.detach() * w);
  };
  Tensor w = parameter({1, 2}, {2}, "w");
  std::vector<Tensor> wanted = {w};
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    graph->add_output("dw", grad(loss_of_w(w), wanted)[0]);
  }
  Tensor eager = grad(loss_of_w(w), wanted)[0];
  EXPECT_THAT(as_doubles(eager), ElementsAre(5, 34));  // hidden * w * hidden + w
  EXPECT_EQ(as_doubles(interpret(*graph, {})[0]), as_doubles(eager));
}

TEST(Trace, RefusesTheGradientOfALossFromBeforeAnAssignment) {
  Tensor w = parameter({1, 2}, {2}, "w"), other = parameter({3, 4}, {2}, "other");
  std::vector<Tensor> wanted = {other, w};
  Trace trace(std::make_shared<Graph>());
  Tensor loss = sum(square(w) * other);
  w.assign(w - 1.0);
  expect_error(ErrorCode::kUsage,
               {"a gradient was asked for after its parameter had been assigned", "(w)",
                "got a loss computed by square from the value before",
                "expected a loss computed from the value assigned", "take grad() first"},
               [&] { grad(loss, wanted); });
  EXPECT_NO_THROW(grad(loss, std::vector<Tensor>{other}));
}

TEST(Trace, TakesTheGradientOfTheValueThatWasAssigned) {
  Tensor w = parameter({1, 2}, {2}, "w");
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    w.assign(w * 10.0);
    graph->add_output("dw", grad(sum(square(w)), std::vector<Tensor>{w})[0]);
  }
  EXPECT_THAT(as_doubles(interpret(*graph, {})[0]), ElementsAre(20, 40));
}

TEST(Trace, DifferentiatesWithRespectToAScalar) {
  Tensor scale = scalar(3).set_requires_grad();
  auto graph = std::make_shared<Graph>();
  std::vector<Tensor> wanted = {scale};
  {
    Trace trace(graph);
    Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {2}});
    graph->add_output("dscale", grad(sum(x * scale * scale), wanted)[0]);
  }
  Tensor x = tensor(std::vector<float>{1, 2}, {2});
  EXPECT_EQ(interpret(*graph, {{"x", x}})[0].item<double>(), 18);
}

TEST(Trace, NumbersBecomeNodesAndNotConstantsInMemory) {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {2}});
  x * 0.5 + 1.0;
  EXPECT_EQ(graph->inputs.size(), 1u);
  EXPECT_THAT(to_string(*graph), HasSubstr("full(){dtype=\"f32\", shape=[], value=0.5}"));
}

TEST(Trace, RefusesTensorsOfAnotherTraceAndDataOfSymbolicOnes) {
  auto one = std::make_shared<Graph>(), other = std::make_shared<Graph>();
  Tensor x = one->add_input(InputKind::kBatch, "x", {DType::f32, {2}});
  Tensor y = other->add_input(InputKind::kBatch, "y", {DType::f32, {2}});
  expect_error(ErrorCode::kUsage, {"another trace", "f32[2]"}, [&] { x + y; });
  expect_error(ErrorCode::kUsage, {"symbolic", "f32[2]"}, [&] { x.data<float>(); });
  expect_error(ErrorCode::kUsage, {"undefined"}, [&] { x + Tensor(); });
}

TEST(Trace, RefusesAssignmentsToPlainValuesAndOfOtherTypes) {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  Tensor plain = tensor(std::vector<float>{1, 2}, {2});
  Tensor w = parameter({1, 2}, {2}, "w");
  expect_error(ErrorCode::kUsage, {"only a parameter or a state", "set_role"}, [&] { plain.assign(w); });
  expect_error(ErrorCode::kUsage, {"same dtype and shape", "w", "f32[]", "f32[2]"},
               [&] { w.assign(sum(w)); });
}

TEST(Scope, IsCarriedByNodesAndNamedByErrors) {
  auto graph = std::make_shared<Graph>();
  Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {2, 3}});
  {
    Scope outer("layers.3", "lenet.cpp:12");
    Scope inner("act", "");
    EXPECT_EQ(Scope::path(), "layers.3.act");
    relu(x);
    expect_error(ErrorCode::kUsage,
                 {"inner extents", "lenet.cpp:12", "layers.3.act", "matmul of a f32[2, 3], b f32[2, 3]"},
                 [&] { matmul(x, x); });
  }
  EXPECT_EQ(Scope::path(), "");
  EXPECT_EQ(graph->nodes[0].scope, "layers.3.act");
  EXPECT_EQ(graph->nodes[0].source, "lenet.cpp:12");
}

TEST(Scope, OfAnOpIsGivenToItsGradient) {
  Tensor w = parameter({1, 2}, {2}, "w");
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  Tensor y;
  {
    Scope scope("layers.0", "");
    y = exp(w);
  }
  std::vector<Tensor> wanted = {w};
  grad(sum(y), wanted);
  EXPECT_EQ(graph->nodes.back().op->name, "mul");
  EXPECT_EQ(graph->nodes.back().scope, "layers.0");
}

}  // namespace
}  // namespace wholestep::test
