// The compiled training step of every network of the zoo: the bits of the eager loop, with every optimisation
// on or off, and the promises about memory and submissions.
#include "wholestep/train/train_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "support/allocation_count.h"
#include "train/net.h"
#include "wholestep/backend/cpu/isa.h"
#include "wholestep/backend/cpu/precision.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/backend/regions.h"
#include "wholestep/base/philox.h"
#include "wholestep/graph/grad.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/clip.h"
#include "wholestep/optim/sgd.h"

namespace wholestep {
namespace {

using test::initialized;
using test::Net;
using test::normalization_of;

constexpr int64_t kBatch = 12;

struct Samples {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  Samples(const nn::Model& model, uint64_t stream, int64_t rows = kBatch) {
    PhiloxStream random(5, stream);
    for (int64_t i = 0; i < rows * model.input.numel(); ++i)
      pixels.push_back(static_cast<uint8_t>(random.below(256)));
    for (int64_t i = 0; i < rows; ++i)
      labels.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(model.classes))));
  }
};

std::unique_ptr<optim::Optimizer> optimizer(bool adam) {
  if (adam) return std::make_unique<optim::Adam>(optim::AdamConfig{.lr = 1e-3});
  return std::make_unique<optim::SGD>(optim::SGDConfig{.lr = 0.01, .momentum = 0.9});
}
std::unique_ptr<optim::Optimizer> sgd(double lr) {
  return std::make_unique<optim::SGD>(optim::SGDConfig{.lr = lr});
}

std::vector<std::byte> bits_of(nn::Module& model) {
  std::vector<std::byte> bits;
  for (const nn::NamedTensors& tensors : {model.named_parameters(), model.named_buffers()})
    for (const auto& [name, t] : tensors) bits.insert(bits.end(), t.bytes().begin(), t.bytes().end());
  return bits;
}

struct Options {
  CompileOptions compile = {};
  bool poison = false;  ///< fill all memory that is not in use with NaN before every step
};

std::vector<std::byte> train_compiled(const std::string& name, bool adam, const Options& options = {},
                                      int steps = 4) {
  Net net(initialized(name, 3), optimizer(adam), {kBatch},
          {.normalization = {}, .clip_norm = 1, .seed = 11, .compile = options.compile});
  TrainStep& step = *net.step;
  for (int i = 0; i < steps; ++i) {
    if (options.poison) step.poison_arena();
    Samples batch(net.model, static_cast<uint64_t>(i));
    step.train(batch.pixels, batch.labels);
    EXPECT_TRUE(std::isfinite(step.last_loss())) << name << " step " << i;
  }
  return bits_of(*net.model.module);
}

std::vector<std::byte> train_eagerly(const std::string& name, bool adam, int steps = 4) {
  nn::Model model = initialized(name, 3);
  auto opt = optimizer(adam);
  std::vector<Tensor> parameters = model.module->parameters();
  opt->attach(parameters);
  nn::CrossEntropyLoss loss;
  RandomState random(11);
  UseRandom use(random);
  model.module->train(true);
  for (int i = 0; i < steps; ++i) {
    Samples batch(model, static_cast<uint64_t>(i));
    Shape shape = {kBatch};
    for (int64_t extent : model.input) shape.push_back(extent);
    Tensor logits = (*model.module)(normalize(tensor(batch.pixels, shape), normalization_of(model.input)));
    Tensor value = mean(loss.per_sample(logits, tensor(batch.labels, {kBatch})));
    opt->step(optim::clip_grad_norm(grad(value, parameters), 1).grads);
    random.advance();
  }
  return bits_of(*model.module);
}

/// The CPU with the regions of a GPU, where calls run in another order than that of the schedule, and memory
/// is shared accordingly.
class OtherRegions final : public Backend {
 public:
  std::string_view name() const override { return "cpu"; }
  bool host_memory() const override { return true; }
  std::shared_ptr<Memory> allocate(int64_t bytes) override { return cpu_backend().allocate(bytes); }
  void copy_in(std::byte* device, const std::byte* host, int64_t bytes) override {
    cpu_backend().copy_in(device, host, bytes);
  }
  void copy_out(std::byte* host, const std::byte* device, int64_t bytes) override {
    cpu_backend().copy_out(host, device, bytes);
  }
  void copy(std::byte* to, const std::byte* from, int64_t bytes) override {
    cpu_backend().copy(to, from, bytes);
  }
  void run(const PreparedKernel& kernel, std::span<const void* const> inputs, std::span<void* const> outputs,
           std::byte* workspace) override {
    cpu_backend().run(kernel, inputs, outputs, workspace);
  }
  Placement placement() const override { return Placement::kFewest; }
  std::unique_ptr<Executable> load(const Program& program, std::span<std::byte* const> arenas) override {
    return cpu_backend().load(program, arenas);
  }
  BackendCounters counters() const override { return cpu_backend().counters(); }
};

/// In f32, and in bf16 where this CPU multiplies it.
class EveryNetwork : public testing::TestWithParam<std::tuple<std::string, Precision>> {
 protected:
  const std::string& network() const { return std::get<0>(GetParam()); }
  void SetUp() override { set_product_precision(std::get<1>(GetParam())); }
  void TearDown() override { set_product_precision(Precision::f32); }
};

std::vector<Precision> precisions() {
  if (detected_isa() < Isa::avx512_bf16) return {Precision::f32};
  return {Precision::f32, Precision::bf16};
}

TEST_P(EveryNetwork, GivesTheSameBitsCompiledAndEagerly) {
  EXPECT_EQ(train_compiled(network(), false), train_eagerly(network(), false));
  EXPECT_EQ(train_compiled(network(), true), train_eagerly(network(), true));
}

TEST_P(EveryNetwork, GivesTheSameBitsWithEachOptimisationOff) {
  auto expected = train_compiled(network(), true);
  EXPECT_EQ(train_compiled(network(), true, {.compile = {.simplify = false}}), expected) << "simplify";
  EXPECT_EQ(train_compiled(network(), true, {.compile = {.layout = false}}), expected) << "layout";
  EXPECT_EQ(train_compiled(network(), true, {.compile = {.fuse = false}}), expected) << "fuse";
  EXPECT_EQ(train_compiled(network(), true, {.compile = {.reuse_memory = false}}), expected)
      << "reuse_memory";
  EXPECT_EQ(train_compiled(network(), true, {.compile = {.call_by_call = true}}), expected) << "call_by_call";
}

TEST_P(EveryNetwork, GivesTheSameBitsCallByCallWhereCallsAndScheduleDiffer) {
  OtherRegions backend;
  EXPECT_EQ(train_compiled(network(), true, {.compile = {.backend = &backend, .call_by_call = true}}),
            train_compiled(network(), true));
}

TEST_P(EveryNetwork, ReadsNothingAnEarlierStepLeftInTheArena) {
  EXPECT_EQ(train_compiled(network(), true, {.poison = true}), train_compiled(network(), true));
}

TEST_P(EveryNetwork, GivesTheSameBitsOnAnyNumberOfThreads) {
  auto expected = train_compiled(network(), false);
  for (int threads : {1, 3, 4}) {
    set_threads(threads);
    EXPECT_EQ(train_compiled(network(), false), expected) << threads;
  }
  set_threads(2);
}

TEST_P(EveryNetwork, E4T17AllocatesNothingInASteadyStep) {
  Net net(initialized(network(), 3), optimizer(true), {kBatch});
  TrainStep& step = *net.step;
  Samples batch(net.model, 0);
  for (int i = 0; i < 3; ++i) step.train(batch.pixels, batch.labels);
  int64_t before = test::allocation_count(), memory = cpu_backend().counters().allocations;
  for (int i = 0; i < 10; ++i) step.train(batch.pixels, batch.labels);
  EXPECT_EQ(test::allocation_count(), before);
  EXPECT_EQ(cpu_backend().counters().allocations, memory);
}

TEST_P(EveryNetwork, E1PredictsItsMemoryToTheByteAndWastesLittle) {
  Net net(initialized(network(), 3), optimizer(true), {});
  TrainStep& step = *net.step;
  int64_t predicted = step.bytes_for(kBatch, kBatch);
  step.prepare({kBatch}, {kBatch});
  EXPECT_EQ(step.predicted_bytes(), predicted);
  EXPECT_EQ(step.used_bytes(), predicted);
  const MemoryReport& m = step.train_plan(kBatch).memory;
  EXPECT_LE(m.activation_bytes, m.unshared_bytes);
  EXPECT_LE(static_cast<double>(m.activation_bytes), 1.11 * static_cast<double>(m.bound_bytes))
      << "lower bound " << m.bound_bytes;
}

INSTANTIATE_TEST_SUITE_P(Zoo, EveryNetwork,
                         testing::Combine(testing::Values("mlp", "lenet", "simple-cnn", "w1", "w3", "w4s"),
                                          testing::ValuesIn(precisions())),
                         [](const auto& suite) {
                           std::string network = std::get<0>(suite.param);
                           std::erase(network, '-');
                           return network + "_" + std::string(name(std::get<1>(suite.param)));
                         });

TEST(TrainStep, T43ZeroRateLeavesParametersAndLossAsTheyAre) {
  Net net(initialized("lenet", 1), sgd(0.1), {kBatch});
  TrainStep& step = *net.step;
  net.optimizer->set_learning_rate(0);
  Samples batch(net.model, 0);
  auto before = bits_of(*net.model.module);
  step.train(batch.pixels, batch.labels);
  double first = step.last_loss();
  step.train(batch.pixels, batch.labels);
  EXPECT_EQ(step.last_loss(), first);
  EXPECT_EQ(bits_of(*net.model.module), before);
  net.optimizer->set_learning_rate(0.1);  // T48: takes effect on the next step, without a new plan
  step.train(batch.pixels, batch.labels);
  EXPECT_NE(bits_of(*net.model.module), before);
  net.optimizer->set_learning_rate(0);
  auto after = bits_of(*net.model.module);
  step.train(batch.pixels, batch.labels);
  EXPECT_EQ(bits_of(*net.model.module), after);
}

TEST(TrainStep, T11AccuracyFollowsTheLabels) {
  Net net(initialized("mlp", 1), sgd(0), {kBatch});
  TrainStep& step = *net.step;
  Samples batch(net.model, 0);
  step.evaluate(batch.pixels, batch.labels);
  Predictions p = step.predictions();
  std::vector<int32_t> right(p.classes.begin(), p.classes.end()), wrong;
  for (int32_t label : right) wrong.push_back((label + 1) % 10);
  step.reset_train_metrics();
  step.train(batch.pixels, right);
  EXPECT_EQ(step.train_metrics().correct, kBatch);
  step.train(batch.pixels, wrong);
  EXPECT_EQ(step.train_metrics().correct, kBatch);
  EXPECT_EQ(step.train_metrics().seen, 2 * kBatch);
}

TEST(TrainStep, T58LossOfAPartialBatchIsThatOfItsRowsAlone) {
  Net net(initialized("lenet", 1), sgd(0), {1, 7, 16, 32});
  TrainStep& step = *net.step;
  Samples all(net.model, 0, 32);
  size_t sample = static_cast<size_t>(net.model.input.numel());
  std::vector<double> single;
  for (size_t i = 0; i < 32; ++i) {
    step.evaluate(std::span(all.pixels).subspan(i * sample, sample), std::span(all.labels).subspan(i, 1));
    single.push_back(static_cast<double>(step.predictions().losses[0]));
  }
  for (size_t rows : {32, 7, 16, 1}) {  // T24, T37: the mean of per-sample losses, whatever ran before
    step.train(std::span(all.pixels).first(rows * sample), std::span(all.labels).first(rows));
    double expected = 0;
    for (size_t i = 0; i < rows; ++i) expected += single[i] / static_cast<double>(rows);
    EXPECT_NEAR(step.last_loss(), expected, 1e-6) << rows;
  }
}

TEST(TrainStep, T44EachSampleHasItsOwnOutput) {
  Net net(initialized("lenet", 1), sgd(0), {kBatch});
  TrainStep& step = *net.step;
  Samples batch(net.model, 0);
  auto probabilities = [&] {
    step.evaluate(batch.pixels, batch.labels);
    Predictions p = step.predictions();
    return std::vector<float>(p.probabilities.begin(), p.probabilities.end());
  };
  std::vector<float> before = probabilities();
  size_t sample = static_cast<size_t>(net.model.input.numel());
  for (size_t i = 0; i < sample; ++i)
    batch.pixels[5 * sample + i] = static_cast<uint8_t>(255 - batch.pixels[5 * sample + i]);
  std::vector<float> after = probabilities();
  for (size_t row = 0; row < kBatch; ++row) {
    bool same = std::equal(before.begin() + static_cast<long>(row * 10),
                           before.begin() + static_cast<long>(row * 10 + 10),
                           after.begin() + static_cast<long>(row * 10));
    EXPECT_EQ(same, row != 5) << row;
  }
}

class EveryOptimizer : public testing::TestWithParam<std::string> {};

TEST_P(EveryOptimizer, KeepsEveryBitInABadBatchWhichIsNamed) {
  nlohmann::json spec = {{"type", GetParam()}, {"lr", 1e-3}};
  if (GetParam() == "sgd") spec["momentum"] = 0.9;
  ConfigReader reader(spec, "optimizer");
  Net net(initialized("lenet", 1), optim::read_optimizer(reader), {kBatch});
  TrainStep& step = *net.step;
  Samples batch(net.model, 0);
  step.train(batch.pixels, batch.labels);
  auto state = [&] {
    std::vector<std::byte> bits = bits_of(*net.model.module);
    for (const Tensor& t : net.optimizer->state())
      bits.insert(bits.end(), t.bytes().begin(), t.bytes().end());
    return bits;
  };
  auto before = state();
  batch.labels[3] = 10;  // T67: out of range; inside a compiled step its loss is NaN
  step.train(batch.pixels, batch.labels);
  EXPECT_EQ(state(), before);
  EXPECT_EQ(step.train_metrics().skipped_steps, 1);
  EXPECT_NE(step.first_non_finite().find("cross_entropy"), std::string::npos) << step.first_non_finite();
  EXPECT_EQ(state(), before);
  batch.labels[3] = 9;
  step.train(batch.pixels, batch.labels);
  EXPECT_NE(state(), before);
}

INSTANTIATE_TEST_SUITE_P(Types, EveryOptimizer, testing::ValuesIn([] {
                           std::vector<std::string> types;
                           for (const auto& type : optim::optimizer_types()) types.emplace_back(type.name);
                           return types;
                         }()));

}  // namespace
}  // namespace wholestep
