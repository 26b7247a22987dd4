// The compiled step against the eager one, and the plan against its own promises.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "support/allocation_count.h"
#include "support/expect_error.h"
#include "support/foreign_backend.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/base/philox.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/grad.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/softmax.h"
#include "wholestep/optim/adam.h"
#include "wholestep/train/train_step.h"

namespace wholestep {
namespace {

Tensor random_tensor(const Shape& shape, uint64_t stream) {
  Tensor t = zeros({DType::f32, shape});
  PhiloxStream random(1, stream);
  for (float& x : t.data<float>()) x = random.uniform(-0.5f, 0.5f);
  return t;
}

/// A two-layer perceptron with momentum: parameters, state, and its step as a plain function over tensors.
struct Perceptron {
  Tensor w1 = random_tensor({32, 20}, 1), b1 = random_tensor({32}, 2), w2 = random_tensor({5, 32}, 3),
         b2 = random_tensor({5}, 4);
  std::vector<Tensor> parameters = {w1, b1, w2, b2}, momenta;
  Tensor rate = scalar(0.1);

  Perceptron() {
    rate.set_role(TensorRole::kState, "rate");
    for (size_t i = 0; i < parameters.size(); ++i) {
      parameters[i].set_requires_grad().set_role(TensorRole::kParameter, "p" + std::to_string(i));
      momenta.push_back(zeros(parameters[i].type()).set_role(TensorRole::kState, "m" + std::to_string(i)));
    }
  }

  Tensor step(const Tensor& x, const Tensor& labels) {
    Tensor loss = cross_entropy(linear(relu(linear(x, w1, b1)), w2, b2), labels);
    std::vector<Tensor> grads = grad(loss, parameters);
    for (size_t i = 0; i < parameters.size(); ++i) {
      Tensor momentum = momenta[i] * 0.9 + grads[i];
      momenta[i].assign(momentum);
      parameters[i].assign(parameters[i] - rate * momentum);
    }
    return loss;
  }

  std::shared_ptr<Graph> trace(int64_t batch) {
    auto graph = std::make_shared<Graph>();
    Trace trace(graph);
    Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {batch, 20}});
    Tensor labels = graph->add_input(InputKind::kBatch, "labels", {DType::i64, {batch}});
    graph->add_output("loss", step(x, labels));
    verify(*graph);
    return graph;
  }
};

struct Batch {
  Tensor x = random_tensor({16, 20}, 9), labels = zeros({DType::i64, {16}});
  Batch() {
    for (size_t i = 0; i < 16; ++i) labels.data<int64_t>()[i] = static_cast<int64_t>(i % 5);
  }
};

std::vector<float> run_compiled(const CompileOptions& options, int steps,
                                std::vector<float>* losses = nullptr) {
  Perceptron net;
  Batch batch;
  CompiledStep step(make_plan(net.trace(16), options));
  step.write("x", batch.x);
  step.write("labels", batch.labels);
  for (int i = 0; i < steps; ++i) {
    step.run();
    if (losses) losses->push_back(step.output("loss").item<float>());
  }
  std::vector<float> all;
  for (const Tensor& p : net.parameters)
    all.insert(all.end(), p.data<float>().begin(), p.data<float>().end());
  return all;
}

TEST(CompiledStep, EqualsTheEagerStepBitForBit) {
  Perceptron net;
  Batch batch;
  std::vector<float> eager_losses, losses, eager;
  for (int i = 0; i < 20; ++i) eager_losses.push_back(net.step(batch.x, batch.labels).item<float>());
  for (const Tensor& p : net.parameters)
    eager.insert(eager.end(), p.data<float>().begin(), p.data<float>().end());
  EXPECT_EQ(run_compiled({}, 20, &losses), eager);
  EXPECT_EQ(losses, eager_losses);
  EXPECT_LT(losses.back(), losses.front() * 0.9f);
}

TEST(CompiledStep, HasTheSameBitsWithoutFusionReuseOrSimplification) {
  std::vector<float> expected = run_compiled({}, 10);
  EXPECT_EQ(run_compiled({.fuse = false}, 10), expected);
  EXPECT_EQ(run_compiled({.layout = false}, 10), expected);
  EXPECT_EQ(run_compiled({.reuse_memory = false}, 10), expected);
  EXPECT_EQ(run_compiled({.simplify = false, .fuse = false, .reuse_memory = false}, 10), expected);
}

TEST(CompiledStep, HasTheSameBitsOnAnyNumberOfThreads) {
  set_threads(1);
  std::vector<float> expected = run_compiled({}, 10);
  for (int threads : {2, 3, 8}) {
    set_threads(threads);
    EXPECT_EQ(run_compiled({}, 10), expected) << threads << " threads";
  }
  set_threads(2);
}

TEST(CompiledStep, FusesNoMoreOperandsThanAKernelCanMark) {
  constexpr int kChoices = 45;  // 91 operands in 45 nodes
  auto graph = std::make_shared<Graph>();
  std::vector<Tensor> values;
  auto choose = [&](auto&& operand) {
    Tensor chosen = operand(0);
    for (int i = 1; i <= kChoices; ++i) chosen = where(operand(2 * i - 1), operand(2 * i), chosen);
    return chosen;
  };
  for (int i = 0; i <= 2 * kChoices; ++i) {
    Tensor value = random_tensor({7, 9}, static_cast<uint64_t>(i));
    values.push_back(i % 2 == 0 ? value : value > 0.0);
    graph->add_input(InputKind::kBatch, fmt::format("x{}", i), values.back().type());
  }
  {
    Trace trace(graph);
    graph->add_output(
        "y", choose([&](int i) { return graph->tensor(graph->inputs[static_cast<size_t>(i)].value); }));
  }
  CompiledStep step(make_plan(graph));
  for (size_t i = 0; i < values.size(); ++i) step.write(fmt::format("x{}", i), values[i]);
  step.run();
  Tensor expected = choose([&](int i) { return values[static_cast<size_t>(i)]; });
  EXPECT_TRUE(std::ranges::equal(step.output("y").bytes(), expected.bytes()));
  for (const Node& node : step.plan().graph->nodes) EXPECT_LE(node.inputs.size(), 64u);
}

TEST(Plan, FusesTheUpdateAndReusesMemory) {
  Perceptron net;
  Plan plan = make_plan(net.trace(16));
  int fused = 0, loose = 0;
  for (const Node& node : plan.graph->nodes) {
    fused += node.op->name == "fused";
    loose += node.op->elementwise;
  }
  EXPECT_GE(fused, 4) << to_string(*plan.graph);
  EXPECT_LE(loose, 2) << to_string(*plan.graph);
  EXPECT_LT(plan.memory.activation_bytes, plan.memory.unshared_bytes);
  EXPECT_GE(plan.memory.activation_bytes, plan.memory.bound_bytes);
  EXPECT_EQ(plan.memory.parameter_bytes, packed_bytes(net.parameters));
}

/// The gradient of a ReLU is part of the product that makes what it masks, also through a reshape, and not
/// where something else reads the product too.
TEST(Plan, FusesTheMaskOfAReluIntoAProductThatNothingElseReads) {
  const Tensor x = random_tensor({3, 4}, 1), w = random_tensor({4, 12}, 2);
  for (bool read_twice : {false, true}) {
    auto results = [&](const Tensor& in) -> std::vector<Tensor> {
      Tensor h = relu(reshape(matmul(in, w), {9, 4}));
      Tensor product = reshape(matmul(in, w * 0.5), {9, 4}), masked = where(h > 0.0, product, 0.0);
      std::vector<Tensor> all = {masked};
      if (read_twice) all.push_back(product);
      return all;
    };
    auto graph = std::make_shared<Graph>();
    {
      Trace trace(graph);
      std::vector<Tensor> traced = results(graph->add_input(InputKind::kBatch, "x", {DType::f32, {3, 4}}));
      for (size_t i = 0; i < traced.size(); ++i) graph->add_output(fmt::format("y{}", i), traced[i]);
    }
    CompiledStep step(make_plan(graph));
    int64_t masks = std::ranges::count_if(step.plan().graph->nodes, [](const Node& node) {
      return node.attrs.text_or("activation", "") == "relu_dx";
    });
    EXPECT_EQ(masks, read_twice ? 0 : 1) << to_string(*step.plan().graph);
    step.write("x", x);
    step.run();
    std::vector<Tensor> eager = results(x);
    for (size_t i = 0; i < eager.size(); ++i)
      EXPECT_TRUE(std::ranges::equal(step.output(fmt::format("y{}", i)).bytes(), eager[i].bytes())) << i;
    EXPECT_TRUE(std::ranges::count(eager[0].data<float>(), 0.0F) > 0);
  }
}

TEST(Plan, LayoutTurnsTransposesIntoFlags) {
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    Tensor a = graph->add_input(InputKind::kBatch, "a", {DType::f32, {3, 4}});
    Tensor b = graph->add_input(InputKind::kBatch, "b", {DType::f32, {5, 4}});
    graph->add_output("y", matmul(a, relu(transpose(b))));
    graph->add_output("z", transpose(relu(transpose(a))));
  }
  Tensor a = random_tensor({3, 4}, 1), b = random_tensor({5, 4}, 2);
  CompiledStep step(make_plan(graph));
  for (const Node& node : step.plan().graph->nodes)
    EXPECT_NE(node.op->name, "permute") << to_string(*step.plan().graph);
  step.write("a", a);
  step.write("b", b);
  step.run();
  Tensor y = matmul(a, relu(transpose(b)));
  EXPECT_EQ(0, std::memcmp(step.output("y").bytes().data(), y.bytes().data(), y.bytes().size()));
}

TEST(CompiledStep, E4AllocatesNothingInASteadyStep) {
  Perceptron net;
  Batch batch;
  CompiledStep step(make_plan(net.trace(16)));
  step.write("x", batch.x);
  step.write("labels", batch.labels);
  step.run();
  step.run();
  int64_t before = test::allocation_count();
  for (int i = 0; i < 100; ++i) step.run();
  EXPECT_EQ(test::allocation_count() - before, 0);
}

TEST(CompiledStep, ASlotThatNothingReadsHasMemoryOfItsOwn) {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {4, 3}});
  graph->add_input(InputKind::kBatch, "unread", {DType::i32, {64}});
  graph->add_output("y", x * 2.0);
  CompiledStep step(make_plan(graph));
  step.write("x", random_tensor({4, 3}, 1));
  step.run();
  Tensor before = step.output("y");
  for (std::byte& b : step.input("unread")) b = std::byte{0xff};
  step.run();
  Tensor after = step.output("y");
  EXPECT_EQ(std::memcmp(before.bytes().data(), after.bytes().data(), before.bytes().size()), 0);
  EXPECT_EQ(step.plan().memory.batch_bytes, 64 + 256);
}

TEST(CompiledStep, GivesTheSameBitsOnADeviceTheHostCannotTouch) {
  Perceptron net;
  Batch batch;
  CompiledStep here(make_plan(net.trace(16)));
  auto run = [&](CompiledStep& step) {
    step.write("x", batch.x);
    step.write("labels", batch.labels);
    step.run();
    std::vector<std::byte> bits;
    for (const GraphOutput& output : step.plan().graph->outputs) {
      Tensor value = step.output(output.name);
      bits.insert(bits.end(), value.bytes().begin(), value.bytes().end());
    }
    return bits;
  };
  Perceptron same;
  CompiledStep there(make_plan(same.trace(16), {.backend = &test::foreign_backend()}));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(there), run(here));
  test::expect_error(ErrorCode::kUsage,
                     {"the host cannot touch the step's values", "write() and read() copy"},
                     [&] { there.input("x"); });
  test::expect_error(ErrorCode::kUsage, {"the host cannot touch the step's values"},
                     [&] { there.output_bytes(there.plan().graph->outputs[0].name); });
  test::expect_error(ErrorCode::kUsage, {"a batch of the wrong size", "x", "3 bytes"},
                     [&] { there.write("x", std::vector<std::byte>(3)); });
  test::expect_error(ErrorCode::kUsage, {"no batch input of this name", "y"},
                     [&] { there.input_bytes("y"); });
}

TEST(CompiledStep, T18IsOneSubmission) {
  Perceptron net;
  CompiledStep step(make_plan(net.trace(16)));
  int64_t before = cpu_backend().counters().submissions;
  for (int i = 0; i < 7; ++i) step.run();
  EXPECT_EQ(cpu_backend().counters().submissions - before, 7);
}

TEST(CompiledStep, RunsNothingOnTheNullBackendButPlansTheSameGraph) {
  Perceptron net;
  BackendCounters before = null_backend().counters();
  CompiledStep step(make_plan(net.trace(16), {.backend = &null_backend()}));
  step.run();
  step.run();
  EXPECT_EQ(null_backend().counters().submissions - before.submissions, 2);
  EXPECT_EQ(null_backend().counters().bytes_in_use - before.bytes_in_use, step.plan().memory.arena_bytes());
  EXPECT_EQ(step.plan().graph->nodes.size(), make_plan(net.trace(16)).graph->nodes.size());
}

TEST(CompiledStep, NamesTheFirstNonFiniteOp) {
  Perceptron net;
  Batch batch;
  batch.x.data<float>()[3] = std::numeric_limits<float>::infinity();
  CompiledStep step(make_plan(net.trace(16)));
  step.write("x", batch.x);
  step.write("labels", batch.labels);
  EXPECT_NE(step.first_non_finite().find("matmul"), std::string::npos);
  EXPECT_NE(step.first_non_finite().find("operand 0"), std::string::npos);
}

// Calls of a GPU run in regions, some later than they stand in the schedule; one at a time they must neither
// come before what they need nor before what still uses their memory.
TEST(Compile, CallByCallNothingRunsBeforeWhatItNeedsOrWhatItsMemoryWaitsFor) {
  int64_t moved = 0;
  for (const char* name : {"mlp", "lenet", "simple-cnn", "w1", "w3", "w4s"}) {
    nn::Model model = nn::find_model(name);
    optim::Adam adam({.lr = 1e-3});
    adam.attach(model.module->parameters());
    nn::CrossEntropyLoss loss;
    size_t channels = static_cast<size_t>(channels_of(model.input));
    TrainStep step(*model.module, loss, adam, model.input,
                   {.normalization = {std::vector<float>(channels, 0.5f), std::vector<float>(channels, 0.5f)},
                    .clip_norm = 1,
                    .compile = {.backend = &cuda_planner()}});
    Plan plan = step.make_train_plan(16);
    std::vector<size_t> order = call_order(plan), place(order.size());
    ASSERT_EQ(order.size(), plan.graph->nodes.size());
    for (size_t at = 0; at < order.size(); ++at) place[order[at]] = at;
    std::vector<int> maker(plan.graph->values.size(), -1);
    for (size_t n = 0; n < order.size(); ++n) {
      moved += place[n] != n;
      for (int value : plan.graph->nodes[n].outputs) maker[static_cast<size_t>(value)] = static_cast<int>(n);
    }
    for (size_t n = 0; n < order.size(); ++n) {
      for (int value : plan.graph->nodes[n].inputs) {
        int made = maker[static_cast<size_t>(value)];
        ASSERT_TRUE(made < 0 || place[static_cast<size_t>(made)] < place[n]) << name << " call " << n;
      }
      for (size_t other = 0; other < order.size(); ++other)
        ASSERT_TRUE(plan.spans[other].last >= plan.spans[n].first || place[other] < place[n])
            << name << " calls " << other << " and " << n;
    }
  }
  EXPECT_GT(moved, 0);
}

}  // namespace
}  // namespace wholestep
