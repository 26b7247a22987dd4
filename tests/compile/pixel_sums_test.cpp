// Convolutions of which only sums over pixels are used: where the pass fires, what it saves, and that the
// step it makes computes the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/count_nodes.h"
#include "support/op_case.h"
#include "train/net.h"
#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/base/philox.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/conv2d.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/pointwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::test {
namespace {

Plan plan_of(const std::string& model, CompileOptions options) {
  return Net(nn::find_model(model), std::make_unique<optim::SGD>(), {},
             {.normalization = {}, .compile = options})
      .step->make_train_plan(32);
}

TEST(PixelSums, W1KeepsNoActivationOnAGpu) {
  constexpr int64_t kActivationBytes = int64_t{32} * 8 * 32 * 32 * 4;
  Plan with = plan_of("w1", {.backend = &cuda_planner()}),
       without = plan_of("w1", {.backend = &cuda_planner(), .pixel_sums = false});
  EXPECT_EQ(count(with, "conv2d_sums"), 1);
  EXPECT_EQ(count(with, "conv2d_sums_dw"), 1);
  EXPECT_EQ(count(with, "conv2d") + count(with, "conv2d_dw"), 0);
  EXPECT_EQ(count(without, "conv2d_sums"), 0);
  EXPECT_GE(without.memory.activation_bytes - with.memory.activation_bytes, kActivationBytes);
}

TEST(PixelSums, ACpuAndExactProductsKeepTheConvolution) {
  EXPECT_EQ(count(plan_of("w1", {}), "conv2d_sums"), 0);
  set_tf32_allowed(false);
  EXPECT_EQ(count(plan_of("w1", {.backend = &cuda_planner()}), "conv2d_sums"), 0);
  set_tf32_allowed(true);
}

TEST(PixelSums, NetworksThatNeedTheActivationKeepIt) {
  for (const char* model : {"lenet", "simple-cnn", "w2", "w4s"})
    EXPECT_EQ(count(plan_of(model, {.backend = &cuda_planner()}), "conv2d_sums"), 0) << model;
}

/// A convolution, its ReLU, and a loss of the totals over all pixels; weights, a bias and pixels that are
/// small multiples, so that no ReLU depends on rounding.
struct Totals {
  Shape x, weight;
  Conv2dOptions options = {};
  bool bias = true, scaled = true, activation_is_read = false;
  Tensor w = {}, b = {};

  Tensor multiples(const Shape& shape, uint64_t seed) const {
    PhiloxStream random(seed, 3);
    Tensor t = zeros({DType::f32, shape});
    for (float& value : t.data<float>()) value = static_cast<float>(random.below(65)) / 16 - 2;
    return t;
  }
  std::shared_ptr<Graph> trace() {
    w = multiples(weight, 1), b = multiples({weight[0]}, 2);
    w.set_role(TensorRole::kParameter, "w"), b.set_role(TensorRole::kParameter, "b");
    auto graph = std::make_shared<Graph>();
    Trace trace(graph);
    Tensor pixels = graph->add_input(InputKind::kBatch, "x", {scaled ? DType::u8 : DType::f32, x});
    Tensor input = scaled ? cast(pixels, DType::f32) * 0.25 - 1.0 : pixels;
    Tensor y = relu(conv2d(input, w, bias ? b : Tensor(), options));
    Tensor totals = sum(y, {2, 3});
    Tensor loss = sum(totals * totals * 0.001, {0, 1});
    std::vector<Tensor> wanted = {w};
    if (bias) wanted.push_back(b);
    std::vector<Tensor> gradients = grad(loss, wanted);
    graph->add_output("loss", loss);
    graph->add_output("dw", gradients[0]);
    if (bias) graph->add_output("db", gradients[1]);
    if (activation_is_read) graph->add_output("y", y);
    return graph;
  }
  std::vector<std::vector<double>> results(const std::shared_ptr<const Graph>& graph,
                                           const CompileOptions& options_of) const {
    CompiledStep step(make_plan(graph, options_of));
    PhiloxStream random(5, 3);
    if (scaled)
      for (std::byte& pixel : step.input("x")) pixel = static_cast<std::byte>(random.below(16));
    else step.write("x", multiples(x, 5));
    step.run();
    std::vector<std::vector<double>> all;
    for (const char* name : {"loss", "dw", "db"})
      if (bias || std::string_view(name) != "db") all.push_back(as_doubles(step.output(name)));
    return all;
  }
};

TEST(PixelSums, GivesTheLossAndTheGradientsOfTheStepItReplaces) {
  for (Totals totals : {Totals{.x = {32, 3, 32, 32}, .weight = {8, 3, 3, 3}, .options = {.padding = {1, 1}}},
                        Totals{.x = {7, 1, 9, 13}, .weight = {5, 1, 5, 4}, .options = {.stride = {2, 1}}},
                        Totals{.x = {200, 2, 6, 5}, .weight = {17, 2, 2, 3}, .bias = false},
                        Totals{.x = {3, 2, 8, 8}, .weight = {4, 2, 3, 3}, .scaled = false}}) {
    auto traced = totals.trace();
    Plan gpu = make_plan(traced, {.backend = &cuda_planner()});
    ASSERT_EQ(count(gpu, "conv2d_sums"), 1) << to_string(totals.x);
    for (const Node& node : gpu.graph->nodes)
      if (node.op->name == "conv2d_sums") {
        EXPECT_EQ(node.attrs.has("program"), totals.scaled);
      }
    auto expected = totals.results(traced, {}), got = totals.results(gpu.graph, {});
    ASSERT_EQ(got.size(), expected.size());
    for (size_t k = 0; k < got.size(); ++k)
      for (size_t i = 0; i < got[k].size(); ++i)
        EXPECT_NEAR(got[k][i], expected[k][i], 1e-5 * (1 + std::abs(expected[k][i])))
            << to_string(totals.x) << " result " << k << " element " << i;
  }
}

TEST(PixelSums, AnActivationThatSomebodyReadsIsKept) {
  Totals totals{.x = {4, 3, 8, 8}, .weight = {8, 3, 3, 3}, .activation_is_read = true};
  EXPECT_EQ(count(make_plan(totals.trace(), {.backend = &cuda_planner()}), "conv2d_sums"), 0);
  totals.activation_is_read = false;
  EXPECT_EQ(count(make_plan(totals.trace(), {.backend = &cuda_planner()}), "conv2d_sums"), 1);
  totals.options.groups = 2, totals.x = {4, 4, 8, 8}, totals.weight = {8, 2, 3, 3};
  EXPECT_EQ(count(make_plan(totals.trace(), {.backend = &cuda_planner()}), "conv2d_sums"), 0);
}

}  // namespace
}  // namespace wholestep::test
