// Gradients squared where they are made: where the pass fires, what it saves, and that it changes no bit.
#include <gtest/gtest.h>

#include <limits>

#include "train/net.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/base/philox.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/adam.h"

namespace wholestep::test {
namespace {

int64_t squaring(const Plan& plan, std::string_view op) {
  return std::ranges::count_if(
      plan.graph->nodes, [&](const Node& node) { return node.op->name == op && node.attrs.has("squares"); });
}

Plan plan_of(const std::string& model, int64_t batch, CompileOptions options = {}) {
  return Net(nn::find_model(model), std::make_unique<optim::Adam>(), {},
             {.normalization = {}, .compile = options})
      .step->make_train_plan(batch);
}

int64_t regions(const Plan& plan) {
  int last = 0;
  for (const Span& span : plan.spans) last = std::max(last, span.last);
  return last + 1;
}

TEST(Squares, ABarrierLessOnTheCpu) {
  Plan with = plan_of("w3", 32, {.recompute = false}),
       without = plan_of("w3", 32, {.recompute = false, .squares = false});
  EXPECT_EQ(squaring(with, "matmul"), 2);  // 784 > 256 and 256 > 128; what is left takes no time
  EXPECT_EQ(squaring(without, "matmul"), 0);
  EXPECT_EQ(regions(with), regions(without) - 1);
}

TEST(Squares, AKernelLessOnAGpu) {
  for (auto [model, batch, kernels] : {std::tuple("w2", 64, 3), {"w3", 32, 5}, {"w4s", 32, 7}}) {
    Plan with = plan_of(model, batch, {.backend = &cuda_planner()}),
         without = plan_of(model, batch, {.backend = &cuda_planner(), .squares = false});
    EXPECT_GT(squaring(with, "matmul"), 0) << model;
    EXPECT_EQ(regions(with), kernels) << model;
    EXPECT_EQ(regions(without), kernels + 1) << model;
  }
}

TEST(Squares, LittleIsReadAsItIs) {
  for (Backend* backend : {&cpu_backend(), &cuda_planner()}) {
    Plan plan = plan_of("w1", 32, {.backend = backend});
    EXPECT_EQ(squaring(plan, "matmul") + squaring(plan, "conv2d_dw"), 0) << backend->name();
  }
}

/// Three steps of W3, clipped, so that the sum itself counts.
std::vector<std::byte> trained(CompileOptions compile, int64_t accumulate, int threads = 2) {
  set_threads(threads);
  Net net(nn::find_model("w3"), std::make_unique<optim::Adam>(), {8 * accumulate},
          {.normalization = {}, .clip_norm = 0.01, .accumulate = accumulate, .seed = 3, .compile = compile});
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  PhiloxStream random(5, 1);
  for (int64_t i = 0; i < 8 * accumulate; ++i) labels.push_back(static_cast<int32_t>(random.below(10)));
  for (int64_t i = 0; i < 8 * accumulate * net.model.input.numel(); ++i)
    pixels.push_back(static_cast<uint8_t>(random.below(256)));
  for (int step = 0; step < 3; ++step) net.step->train(pixels, labels);
  set_threads(2);
  std::vector<std::byte> all;
  for (const auto& tensors : {net.step->model_tensors(), net.step->state_tensors()})
    for (const Tensor& t : tensors) all.insert(all.end(), t.bytes().begin(), t.bytes().end());
  return all;
}

TEST(Squares, ClippedStepsHaveTheSameBitsWithAndWithoutItOnAnyNumberOfThreads) {
  for (int64_t accumulate : {1, 2}) {
    std::vector<std::byte> expected = trained({.squares = false}, accumulate);
    EXPECT_TRUE(trained({}, accumulate) == expected);
    EXPECT_TRUE(trained({.simplify = false}, accumulate) == expected);
    EXPECT_TRUE(trained({.fuse = false}, accumulate) == expected);
    EXPECT_TRUE(trained({.reuse_memory = false}, accumulate, 3) == expected);
    EXPECT_TRUE(trained({}, accumulate, 1) == expected);
  }
}

/// The norm of a gradient a^T b [256, 100] and of a vector, and whether the product squares itself.
struct Norm {
  Tensor a = zeros({DType::f32, {32, 256}}), b = zeros({DType::f32, {32, 100}}), c = zeros({DType::f32, {7}});

  Norm() {
    PhiloxStream random(7, 2);
    for (Tensor* t : {&a, &b, &c})
      for (float& x : t->data<float>()) x = random.uniform(-1, 1);
  }
  CompiledStep step(bool shared) const {
    auto graph = std::make_shared<Graph>();
    {
      Trace trace(graph);
      Tensor x = graph->add_input(InputKind::kBatch, "a", a.type()),
             y = graph->add_input(InputKind::kBatch, "b", b.type()),
             z = graph->add_input(InputKind::kBatch, "c", c.type());
      Tensor g = matmul(x, y, true, false);
      graph->add_output("g", g);
      graph->add_output("squares", sum_squares(shared ? std::vector{g, z, g} : std::vector{g, z}));
    }
    CompiledStep step(make_plan(graph));
    step.write("a", a), step.write("b", b), step.write("c", c);
    return step;
  }
};

TEST(Squares, GiveTheSumOfTheEagerOp) {
  Norm norm;
  Tensor g = matmul(norm.a, norm.b, true, false);
  CompiledStep step = norm.step(false);
  EXPECT_EQ(squaring(step.plan(), "matmul"), 1);
  step.run();
  EXPECT_EQ(step.output("squares").item<double>(), sum_squares({g, norm.c}).item<double>());
  double expected = 0;
  for (float x : g.data<float>()) expected += double{x} * double{x};
  for (float x : norm.c.data<float>()) expected += double{x} * double{x};
  EXPECT_NEAR(step.output("squares").item<double>(), expected, 1e-12 * expected);

  norm.b.data<float>()[99] = std::numeric_limits<float>::infinity();
  step.write("b", norm.b);
  step.run();
  EXPECT_FALSE(std::isfinite(step.output("squares").item<double>()));
}

TEST(Squares, AGradientThatCountsTwiceIsReadAsItIs) {
  Norm norm;
  Tensor g = matmul(norm.a, norm.b, true, false);
  CompiledStep step = norm.step(true);
  EXPECT_EQ(squaring(step.plan(), "matmul"), 0);
  step.run();
  EXPECT_EQ(step.output("squares").item<double>(), sum_squares({g, norm.c, g}).item<double>());
}

}  // namespace
}  // namespace wholestep::test
