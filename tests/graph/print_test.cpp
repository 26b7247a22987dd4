// A graph as text and as Graphviz, and the mistakes verify() finds.
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/graph.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

using testing::HasSubstr;

/// A linear layer, its loss and one step of gradient descent.
std::shared_ptr<Graph> small_step() {
  Tensor w = tensor(std::vector<float>{1, 2, 3}, {1, 3}).set_role(TensorRole::kParameter, "layers.0.weight");
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {4, 3}});
  Tensor loss;
  {
    Scope scope("layers.0", "");
    loss = sum(square(linear(x, w)));
  }
  std::vector<Tensor> wanted = {w};
  w.assign(w - grad(loss, wanted)[0] * 0.5);
  graph->add_output("loss", loss);
  return graph;
}

TEST(Print, ShowsEveryNodeWithTypesAttributesAndScope) {
  EXPECT_EQ(to_string(*small_step()),
            R"(%0 = batch "x" : f32[4, 3]
%1 = parameter "layers.0.weight" : f32[1, 3]
%2 = matmul(%0, %1){transpose_a=false, transpose_b=true} : f32[4, 1]  # layers.0
%3 = square(%2) : f32[4, 1]  # layers.0
%4 = sum(%3){axes=[0, 1], keep_dims=false} : f32[]  # layers.0
%5 = full(){dtype="f32", shape=[], value=1} : f32[]
%6 = reshape(%5){shape=[1, 1]} : f32[1, 1]  # layers.0
%7 = expand(%6){shape=[4, 1]} : f32[4, 1]  # layers.0
%8 = full(){dtype="f32", shape=[], value=2} : f32[]  # layers.0
%9 = mul(%7, %8) : f32[4, 1]  # layers.0
%10 = mul(%9, %2) : f32[4, 1]  # layers.0
%11 = matmul(%10, %0){transpose_a=true, transpose_b=false} : f32[1, 3]  # layers.0
%12 = full(){dtype="f32", shape=[], value=0.5} : f32[]
%13 = mul(%11, %12) : f32[1, 3]
%14 = sub(%1, %13) : f32[1, 3]
update "layers.0.weight" = %14
output "loss" = %4
)");
}

TEST(Print, DrawsEveryNodeForGraphviz) {
  std::string dot = to_dot(*small_step());
  EXPECT_THAT(dot, testing::StartsWith("digraph step {"));
  EXPECT_THAT(dot, HasSubstr(R"(label="layers.0.weight\nf32[1, 3]")"));
  EXPECT_THAT(dot, HasSubstr("n0 [label=\"matmul {transpose_a=false, transpose_b=true}\\nlayers.0\"]"));
  EXPECT_THAT(dot, HasSubstr("v0 -> n0 [label=\"f32[4, 3]\""));
  EXPECT_THAT(dot, HasSubstr("\"update layers.0.weight\""));
  EXPECT_THAT(dot, HasSubstr("\"output loss\""));
}

TEST(Verify, AcceptsWhatTracingMakes) { EXPECT_NO_THROW(verify(*small_step())); }

/// verify() must refuse the small step after `damage`, with a message holding `pieces`.
template <class Damage>
void expect_refusal(std::initializer_list<std::string> pieces, Damage&& damage) {
  auto graph = small_step();
  damage(*graph);
  expect_error(ErrorCode::kFailure, {"does not verify"}, [&] { verify(*graph); });
  expect_error(ErrorCode::kFailure, pieces, [&] { verify(*graph); });
}

TEST(Verify, FindsReadsBeforeTheValueIsMade) {
  expect_refusal({"%3 is read before it is made", "node 0, sum"},
                 [](Graph& g) { std::swap(g.nodes[0], g.nodes[2]); });
  expect_refusal({"%99 is read before it is made"}, [](Graph& g) { g.nodes[1].inputs[0] = 99; });
  expect_refusal({"%-1 is read before it is made"}, [](Graph& g) { g.nodes[1].inputs[0] = -1; });
}

TEST(Verify, FindsValuesMadeTwiceOrNowhere) {
  expect_refusal({"%2 is made twice", "node 1, square"}, [](Graph& g) { g.nodes[1].outputs[0] = 2; });
  expect_refusal({"there is no %99"}, [](Graph& g) { g.nodes[1].outputs[0] = 99; });
  expect_refusal({"%3 names another maker"}, [](Graph& g) { g.values[3].node = 0; });
  expect_refusal({"an input has no value of its own", "layers.0.weight"},
                 [](Graph& g) { g.inputs[0].value = 1; });
}

TEST(Verify, FindsTypesThatAreNotWhatTheOpInfers) {
  expect_refusal({"not what the op infers", "node 1, square"}, [](Graph& g) {
    g.values[3].type = {DType::f64, {4, 1}};
  });
}

TEST(Verify, FindsUpdatesAndOutputsThatDoNotFit) {
  expect_refusal({"another type", "layers.0.weight"}, [](Graph& g) { g.updates[0].value = 4; });
  expect_refusal({"another type or no value"}, [](Graph& g) { g.updates[0].value = 1000; });
  expect_refusal({"neither a parameter nor a state", "%0"}, [](Graph& g) { g.updates[0].target = 0; });
  expect_refusal({"an output is never made", "loss"}, [](Graph& g) { g.outputs[0].value = -1; });
}

}  // namespace
}  // namespace wholestep::test
