// Large gradients that are never stored: where the pass fires, what it saves, and that it changes no bit but
// in their norm.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>

#include "support/count_nodes.h"
#include "train/net.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/base/philox.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::test {
namespace {

Plan plan_of(const std::string& model, int64_t batch, CompileOptions options = {}, double clip_norm = 0) {
  return Net(nn::find_model(model), std::make_unique<optim::Adam>(), {},
             {.normalization = {}, .clip_norm = clip_norm, .compile = options})
      .step->make_train_plan(batch);
}

TEST(Recompute, TheWideGradientOfW4IsNotStoredAndItsBytesAreSaved) {
  constexpr int64_t kGradientBytes = int64_t{128} * 262144 * 4, kSumsBytes = 1 << 20;  // of Gram matrices
  constexpr int64_t kSharedBytes = 4 << 20;  // of a stored one, where values lay that are dead by then
  for (Backend* backend : {&cpu_backend(), &cuda_planner()}) {
    Plan with = plan_of("w4", 32, {.backend = backend}),
         without = plan_of("w4", 32, {.backend = backend, .recompute = false});
    EXPECT_EQ(count(with, "matmul_fused"), 1) << backend->name();
    EXPECT_EQ(count(with, "matmul_squares"), 0);
    EXPECT_EQ(count(plan_of("w4", 32, {.backend = backend}, 1), "matmul_squares"), 1);
    const int64_t joined = backend->name() == "cuda";  // the gradient by the input, made with the update
    EXPECT_EQ(count(with, "matmul"), count(without, "matmul") - 1 - joined);
    EXPECT_EQ(count(without, "matmul_fused"), 0);
    EXPECT_GE(without.memory.activation_bytes - with.memory.activation_bytes,
              kGradientBytes - kSumsBytes - kSharedBytes);
  }
}

const Node* joined_update(const Plan& plan) {
  for (const Node& node : plan.graph->nodes)
    if (node.op->name == "matmul_fused" && node.attrs.has("input_gradient")) return &node;
  return nullptr;
}

TEST(Recompute, AGpuMakesTheGradientByTheInputWithTheUpdateWhereABoundSaysThatAllIsFinite) {
  const Plan plan = plan_of("w4", 32, {.backend = &cuda_planner()});
  const Node* update = joined_update(plan);
  ASSERT_NE(update, nullptr);
  const Graph& graph = *plan.graph;
  const int weight = update->inputs[static_cast<size_t>(update->attrs.integer("input_gradient"))];
  EXPECT_EQ(graph.find_input(weight)->name, "layers.7.weight");
  EXPECT_TRUE(update->attrs.flag("masked"));
  // What lies behind comes later, and no norm reads it.
  const std::vector<std::vector<int>> users = graph.users();
  int64_t behind = 0;
  for (const Node& node : graph.nodes) {
    if (node.op->name == "conv2d_dx" || node.op->name == "conv2d_dw") {
      EXPECT_GT(&node, update);
      for (int value : node.outputs)
        for (int reader : users[static_cast<size_t>(value)])
          EXPECT_NE(graph.node(reader).op->name, "sum_squares");
      ++behind;
    }
    if (node.op->name != "sum_squares") continue;
    EXPECT_LT(&node, update);
    // But for the weight, whose squares come with the forward product, and what kernels square on the way.
    for (int value : node.inputs) EXPECT_LE(graph.type(value).bytes(), 2 << 20);
  }
  EXPECT_EQ(behind, 5);

  EXPECT_EQ(joined_update(plan_of("w4", 32, {.backend = &cuda_planner()}, 1)), nullptr) << "the norm counts";
  EXPECT_EQ(joined_update(plan_of("w4", 32, {.backend = &cpu_backend()})), nullptr);
  set_tf32_allowed(false);
  EXPECT_EQ(joined_update(plan_of("w4", 32, {.backend = &cuda_planner()})), nullptr) << "no such kernel";
  set_tf32_allowed(true);
  EXPECT_EQ(joined_update(plan_of("w4s", 32, {.backend = &cuda_planner()})), nullptr) << "small";
}

TEST(Recompute, ACpuMakesSmallerOnesWhereOneUpdateReadsThemAndLargeBatchesKeepTheirGradients) {
  struct Expected {
    const char* model;
    int64_t batch, on_cpu;
  };
  for (auto [model, batch, on_cpu] : {Expected{"lenet", 64, 1},
                                      {"lenet", 96, 0},
                                      {"w1", 32, 0},
                                      {"w3", 32, 2},
                                      {"w4s", 32, 1},
                                      {"w4", 96, 0}}) {
    for (Backend* backend : {&cpu_backend(), &cuda_planner()}) {
      Plan plan = plan_of(model, batch, {.backend = backend});
      EXPECT_EQ(count(plan, "matmul_fused"), backend == &cpu_backend() ? on_cpu : 0) << model;
      EXPECT_EQ(count(plan, "matmul_squares"), 0) << model;
      EXPECT_EQ(count(plan_of(model, batch, {.backend = backend}, 1), "matmul_fused"), 0) << model;
    }
  }
}

/// A layer of 2^23 weights, 32 MiB, and a small one.
struct WideNet {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels = {0, 2, 1};
  Net net;

  WideNet(std::unique_ptr<optim::Optimizer> optimizer, CompileOptions compile, bool clipped)
      : net(model(), std::move(optimizer), {3},
            {.normalization = {}, .clip_norm = clipped ? 0.5 : 0, .seed = 11, .compile = compile}) {
    PhiloxStream random(5, 1);
    for (int64_t i = 0; i < 3 * net.model.input.numel(); ++i)
      pixels.push_back(static_cast<uint8_t>(random.below(256)));
  }
  static nn::Model model() {
    nn::Model model{.name = "wide", .input = {1, 256, 256}, .classes = 3, .module = {}};
    model.module = std::make_unique<nn::Sequential>(
        nn::Flatten(), nn::Linear({.in_features = 65536, .out_features = 128}), nn::ReLU(),
        nn::Linear({.in_features = 128, .out_features = 3}));
    model.module->initialize(3);
    return model;
  }
  std::vector<std::byte> bits() const {
    std::vector<std::byte> all;
    for (const auto& tensors : {net.step->model_tensors(), net.step->state_tensors()})
      for (const Tensor& t : tensors) all.insert(all.end(), t.bytes().begin(), t.bytes().end());
    return all;
  }
};

std::unique_ptr<optim::Optimizer> optimizer(std::string_view name) {
  if (name == "adam")
    return std::make_unique<optim::Adam>(optim::AdamConfig{.lr = 1e-3, .weight_decay = 0.01});
  return std::make_unique<optim::SGD>(optim::SGDConfig{.lr = 0.01, .momentum = 0.9});
}

std::vector<std::byte> trained(std::string_view name, CompileOptions compile, bool clipped, int threads = 2) {
  set_threads(threads);
  WideNet wide(optimizer(name), compile, clipped);
  for (int i = 0; i < 3; ++i) wide.net.step->train(wide.pixels, wide.labels);
  EXPECT_EQ(count(wide.net.step->train_plan(3), "matmul_fused"), compile.recompute && compile.fuse);
  set_threads(2);
  return wide.bits();
}

TEST(Recompute, StepsHaveTheSameBitsWithAndWithoutItOnAnyNumberOfThreads) {
  for (std::string_view name : {"adam", "sgd"}) {
    std::vector<std::byte> expected = trained(name, {.recompute = false}, false);
    EXPECT_TRUE(trained(name, {}, false) == expected) << name;
    EXPECT_TRUE(trained(name, {.fuse = false}, false) == expected) << name;
    expected = trained(name, {}, true);  // the norm, and what is divided by it, are rounded in other places
    EXPECT_TRUE(trained(name, {.simplify = false}, true) == expected) << name;
    EXPECT_TRUE(trained(name, {.reuse_memory = false}, true, 3) == expected) << name;
    EXPECT_TRUE(trained(name, {}, true, 1) == expected) << name;
  }
}

/// A step of plain gradient descent on w [m, n], whose gradient a^T b has k terms.
struct OneStep {
  Tensor a, b, w;

  OneStep(int64_t m, int64_t n, int64_t k)
      : a(zeros({DType::f32, {k, m}})), b(zeros({DType::f32, {k, n}})), w(zeros({DType::f32, {m, n}})) {
    PhiloxStream random(7, 2);
    for (Tensor* t : {&a, &b, &w})
      for (float& x : t->data<float>()) x = random.uniform(-1, 1);
    w.set_role(TensorRole::kParameter, "w");
  }
  using Condition = std::function<Tensor(const Tensor& squares)>;
  Condition condition = [](const Tensor& squares) { return isfinite(squares); };
  void step(const Tensor& x, const Tensor& y) {
    Tensor g = matmul(x, y, true, false), commit = condition(sum_squares({g}));
    w.assign(where(commit, w - g * 0.1, w));
  }
  CompiledStep compiled() {
    auto graph = std::make_shared<Graph>();
    {
      Trace trace(graph);
      step(graph->add_input(InputKind::kBatch, "a", a.type()),
           graph->add_input(InputKind::kBatch, "b", b.type()));
    }
    CompiledStep step(make_plan(graph));
    step.write("a", a);
    step.write("b", b);
    return step;
  }
  bool holds(const Tensor& values) const {
    return std::memcmp(w.bytes().data(), values.bytes().data(), w.bytes().size()) == 0;
  }
};

TEST(Recompute, AwkwardShapesGiveTheBitsOfTheEagerStep) {
  for (auto [m, n, k] :
       {std::array<int64_t, 3>{1, 8388619, 1}, {9, 1048583, 5}, {8388619, 1, 2}, {2900, 2901, 3}}) {
    OneStep eager(m, n, k), same(m, n, k);
    eager.step(eager.a, eager.b);
    CompiledStep step = same.compiled();
    EXPECT_EQ(count(step.plan(), "matmul_fused"), 1);
    step.run();
    EXPECT_TRUE(same.holds(eager.w)) << m << " x " << n << " x " << k;
  }
}

TEST(Recompute, AGradientThatIsNotFiniteChangesNothing) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    OneStep one(9, 1048583, 5);
    one.b.data<float>()[1048582] = bad;
    Tensor before = one.w.clone();
    CompiledStep step = one.compiled();
    step.run();
    EXPECT_TRUE(one.holds(before));
  }
}

TEST(Recompute, OfANormThatIsOnlyAskedIfItIsFiniteNoMoreIsMadeThanABound) {
  auto squares = [](const OneStep::Condition& condition) {
    OneStep one(9, 1048583, 5);
    one.condition = condition;
    CompiledStep step = one.compiled();
    EXPECT_EQ(count(step.plan(), "matmul_fused"), 1);
    return count(step.plan(), "matmul_squares");
  };
  EXPECT_EQ(squares([](const Tensor& s) { return isfinite(s); }), 0);
  EXPECT_EQ(squares([](const Tensor& s) { return isfinite(sqrt(s)); }), 0);
  EXPECT_EQ(squares([](const Tensor& s) { return logical_and(isfinite(sqrt(s)), isfinite(s)); }), 0);
  EXPECT_EQ(squares([](const Tensor& s) { return s < 3.0; }), 1);
  EXPECT_EQ(squares([](const Tensor& s) { return isfinite(s * 2.0); }), 1);
  EXPECT_EQ(squares([](const Tensor& s) { return logical_and(isfinite(s), s < 3.0); }), 1);
  EXPECT_EQ(squares([](const Tensor& s) { return equal(s - s, s); }), 1);
  EXPECT_EQ(squares([](const Tensor& s) { return (s - s) < s; }), 1);
}

TEST(Recompute, GradientsUpToAlmostTheLargestNumberAreTaken) {
  for (float size : {0x1p120f, 0x1p123f, 0x1p124f, 0x1.8p124f}) {
    OneStep one(9, 1048583, 1);
    for (float& x : one.a.data<float>()) x = 0;
    for (float& x : one.b.data<float>()) x = 0;
    one.a.data<float>()[8] = size;
    one.b.data<float>()[5] = 8;  // an element of 8 size, and so is the bound
    Tensor before = one.w.clone();
    CompiledStep step = one.compiled();
    step.run();
    EXPECT_EQ(one.holds(before), size > 0x1p124f) << size;
  }
}

TEST(Recompute, AProductThatIsKeptOrReadsWhatItsUpdateWritesIsStored) {
  for (bool kept : {false, true}) {
    Tensor w = zeros({DType::f32, {2900, 2900}});
    for (float& x : w.data<float>()) x = 0.01f;
    w.set_role(TensorRole::kParameter, "w");
    auto graph = std::make_shared<Graph>();
    {
      Trace trace(graph);
      Tensor x = kept ? graph->add_input(InputKind::kBatch, "x", {DType::f32, {1, 2900}}) : w;
      Tensor g = matmul(x, x, kept, false);
      if (kept) graph->add_output("gradient", g);
      w.assign(w - g * 0.1 * w);
    }
    EXPECT_EQ(count(make_plan(graph), "matmul_fused"), 0);
  }
}

}  // namespace
}  // namespace wholestep::test
