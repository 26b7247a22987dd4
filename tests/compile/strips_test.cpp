// Convolutions in strips: which chains the pass takes, what each strip makes, and that the step it makes
// computes the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "support/count_nodes.h"
#include "support/op_case.h"
#include "train/net.h"
#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/base/philox.h"
#include "wholestep/compile/region_work.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/conv2d.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/pointwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/optim/adam.h"

namespace wholestep::test {
namespace {

Plan plan_of(const std::string& model, int64_t batch, CompileOptions options) {
  return Net(nn::find_model(model), std::make_unique<optim::Adam>(), {},
             {.normalization = {}, .compile = options})
      .step->make_train_plan(batch);
}

TEST(Strips, AStridedNetworkMakesThemOfEveryConvolution) {
  const Plan with = plan_of("w4s", 32, {.backend = &cuda_planner()});
  ASSERT_EQ(count(with, "conv2d_strips"), 3);
  EXPECT_EQ(count(with, "conv2d"), 0);
  // Four rows of the last result need nine of the second and nineteen of the first.
  const std::vector<std::vector<int64_t>> rows = {{-3, 19}, {-1, 9}}, x_rows = {{-3, 32}, {-1, 16}};
  std::vector<const Node*> strips;
  for (const Node& node : with.graph->nodes)
    if (node.op->name == "conv2d_strips") strips.push_back(&node);
  for (const Node* node : strips) EXPECT_EQ(node->attrs.integer("strips"), 2);
  EXPECT_EQ(strips[0]->attrs.integers("rows"), rows[0]);
  EXPECT_EQ(strips[1]->attrs.integers("rows"), rows[1]);
  EXPECT_FALSE(strips[2]->attrs.has("rows"));
  EXPECT_FALSE(strips[0]->attrs.has("x_rows"));
  EXPECT_EQ(strips[1]->attrs.integers("x_rows"), x_rows[0]);
  EXPECT_EQ(strips[2]->attrs.integers("x_rows"), x_rows[1]);
  // And back, of the first layer's weight and what leads to it.
  ASSERT_EQ(count(with, "conv2d_dx_strips"), 1);
  ASSERT_EQ(count(with, "conv2d_dw_strips"), 1);
  EXPECT_EQ(count(with, "conv2d_dx"), 1);
  EXPECT_EQ(count(with, "conv2d_dw"), 2);
  for (const Node& node : with.graph->nodes) {
    if (node.op->name == "conv2d_dx_strips") {
      EXPECT_EQ(with.graph->type(node.outputs[0]).shape, (Shape{64, 8, 16, 32}));
    }
    if (node.op->name == "conv2d_dw_strips") {
      EXPECT_EQ(node.attrs.integer("strips"), 2);
    }
  }
}

int strips_in(const Plan& plan) {
  return count(plan, "conv2d_strips") + count(plan, "conv2d_dx_strips") + count(plan, "conv2d_dw_strips");
}

TEST(Strips, AnEvaluationKeepsItsResultsInLanes) {
  Net net(nn::find_model("w4s"), std::make_unique<optim::Adam>(), {},
          {.normalization = {}, .compile = {.backend = &cuda_planner()}});
  EXPECT_EQ(strips_in(net.step->make_eval_plan(32)), 0);
}

TEST(Strips, TwoLanesShareASample) {
  const Plan with = plan_of("w4s", 32, {.backend = &cuda_planner()}),
             without = plan_of("w4s", 32, {.backend = &cuda_planner(), .strips = false});
  const Regions regions = plan_regions(with);
  EXPECT_EQ(regions.regions.size(), plan_regions(without).regions.size()) << "no region more";
  const LaneSet& lanes = regions.regions[0].lane_sets[0];
  EXPECT_EQ(lanes.rows, 32);
  EXPECT_EQ(lanes.chunks, 64);
  EXPECT_EQ(lanes.strips, 2);
  EXPECT_EQ(lanes.steps.size(), 3u) << "convolutions, of which the first scales its pixels";
}

TEST(Strips, TheWayBackIsMadeByAsManyLanesAsRunAtOnce) {
  const Plan plan = plan_of("w4s", 32, {.backend = &cuda_planner()});
  auto name = [&](const LaneSet::Step& step) {
    const auto at = static_cast<size_t>(step.call);
    return plan.graph->nodes[at].scope + " " + plan.graph->nodes[at].op->name;
  };
  using Names = std::vector<std::string>;
  std::map<Names, int64_t> lanes;
  for (const Region& region : plan_regions(plan).regions) {
    std::map<Names, int64_t> found;
    for (const LaneSet& set : region.lane_sets) {
      Names names;
      for (const LaneSet::Step& step : set.steps) names.push_back(name(step));
      found[names] = set.chunks;
    }
    const bool is_it = std::ranges::any_of(found, [](const auto& set) {
      return std::ranges::find(set.first, "layers.2 conv2d_dx_strips") != set.first.end();
    });
    if (is_it) lanes = found;
  }
  const std::map<Names, int64_t> expected = {
      {{" fused", "layers.4 conv2d_dx", "layers.2 conv2d_dx_strips", "layers.0 conv2d_dw_strips"}, 64},
      {{"layers.4 conv2d_dx", "layers.2 conv2d_dw"}, 32},
      {{"layers.4 conv2d_dw"}, 32}};
  EXPECT_EQ(lanes, expected);
}

TEST(Strips, ForHalfOfTheMultiprocessors) {
  struct Case {
    int64_t batch, forward, back;
  };
  for (const Case& c : {Case{2, 8, 16}, {8, 8, 8}, {9, 4, 4}, {16, 4, 4}, {17, 2, 2}, {33, 2, 2}}) {
    const Plan plan = plan_of("w4s", c.batch, {.backend = &cuda_planner()});
    ASSERT_EQ(count(plan, "conv2d_strips"), 3) << c.batch;
    ASSERT_EQ(count(plan, "conv2d_dw_strips"), 1) << c.batch;
    for (const Node& node : plan.graph->nodes)
      if (node.op->name.ends_with("_strips")) {
        EXPECT_EQ(node.attrs.integer("strips"), node.op->name == "conv2d_strips" ? c.forward : c.back)
            << c.batch << " " << node.op->name;
      }
  }
  EXPECT_EQ(strips_in(plan_of("w4s", 34, {.backend = &cuda_planner()})), 0);
}

TEST(Strips, OtherNetworksAndDevicesHaveNone) {
  for (const char* model : {"w1", "w2", "w4", "simple-cnn", "resnet18"})
    EXPECT_EQ(strips_in(plan_of(model, 4, {.backend = &cuda_planner()})), 0) << model;
  EXPECT_EQ(strips_in(plan_of("w4s", 32, {})), 0);
  set_tf32_allowed(false);
  EXPECT_EQ(strips_in(plan_of("w4s", 32, {.backend = &cuda_planner()})), 0);
  set_tf32_allowed(true);
}

/// Two convolutions of 5x5 and a loss behind a product that reads all of a sample.
struct Chain {
  Shape x, first, second;
  Conv2dOptions one = {}, two = {};
  std::vector<Tensor> parameters = {};

  std::shared_ptr<Graph> trace() {
    PhiloxStream random(1, 3);
    auto parameter = [&](const Shape& shape, const char* name) {
      Tensor t = zeros({DType::f32, shape});
      for (float& value : t.data<float>()) value = static_cast<float>(random.uniform(-0.1, 0.1));
      t.set_role(TensorRole::kParameter, name);
      parameters.push_back(t);
      return t;
    };
    const Tensor w1 = parameter(first, "w1"), b1 = parameter({first[0]}, "b1"), w2 = parameter(second, "w2");
    auto graph = std::make_shared<Graph>();
    Trace trace(graph);
    const Tensor in = graph->add_input(InputKind::kBatch, "x", {DType::f32, x});
    const Tensor y = relu(conv2d(relu(conv2d(in, w1, b1, one)), w2, Tensor(), two));
    const int64_t features = y.numel() / x[0];
    const Tensor wide = parameter({64, features}, "wide");
    const Tensor loss = sum(square(matmul(reshape(y, {x[0], features}), wide, false, true)), {0, 1});
    std::vector<Tensor> gradients = grad(loss, parameters);
    graph->add_output("loss", loss);
    for (size_t i = 0; i < gradients.size(); ++i) graph->add_output("g" + std::to_string(i), gradients[i]);
    return graph;
  }
  std::vector<std::vector<double>> results(const std::shared_ptr<const Graph>& graph) const {
    CompiledStep step(make_plan(graph, {}));
    PhiloxStream random(5, 3);
    Tensor pixels = zeros({DType::f32, x});
    for (float& value : pixels.data<float>()) value = static_cast<float>(random.uniform(-1, 1));
    step.write("x", pixels);
    step.run();
    std::vector<std::vector<double>> all = {as_doubles(step.output("loss"))};
    for (size_t i = 0; i < parameters.size(); ++i)
      all.push_back(as_doubles(step.output("g" + std::to_string(i))));
    return all;
  }
};

TEST(Strips, GiveTheLossAndTheGradientsOfWholeSamples) {
  for (Chain chain : {Chain{.x = {4, 3, 32, 32},
                     .first = {8, 3, 5, 5},
                     .second = {12, 8, 5, 5},
                     .one = {.padding = {2, 2}},
                     .two = {.stride = {2, 2}, .padding = {2, 2}}},
                      Chain{.x = {2, 2, 48, 20},
                      .first = {16, 2, 3, 3},
                      .second = {9, 16, 3, 3},
                      .one = {.stride = {2, 1}, .padding = {1, 0}},
                      .two = {.padding = {1, 1}}}}) {
    const auto traced = chain.trace();
    const Plan gpu = make_plan(traced, {.backend = &cuda_planner()});
    ASSERT_EQ(count(gpu, "conv2d_strips"), 2) << to_string(chain.x);
    ASSERT_EQ(count(gpu, "conv2d_dw_strips"), 1) << to_string(chain.x);
    const auto expected = chain.results(traced), got = chain.results(gpu.graph);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t k = 0; k < got.size(); ++k) {
      double largest = 0;
      for (double value : expected[k]) largest = std::max(largest, std::abs(value));
      ASSERT_GT(largest, 0);
      for (size_t i = 0; i < got[k].size(); ++i)
        EXPECT_NEAR(got[k][i], expected[k][i], 1e-5 * largest)
            << to_string(chain.x) << " result " << k << " element " << i;
    }
  }
}

}  // namespace
}  // namespace wholestep::test
