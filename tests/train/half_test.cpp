// Training models whose parameters are f16 or bf16: what they learn, what they save, and the same bits
// eagerly and compiled.
#include <gtest/gtest.h>

#include "support/formula.h"
#include "train/net.h"
#include "wholestep/data/digits.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/widen.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/random.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/trainer.h"

namespace wholestep::test {
namespace {

nn::Sequential perceptron(DType dtype) {
  nn::Sequential model(nn::Flatten(), nn::Linear({.in_features = 784, .out_features = 64}), nn::ReLU(),
                       nn::Linear({.in_features = 64, .out_features = 10}));
  model.initialize(1);
  model.to(dtype);
  return model;
}

double fitted_accuracy(DType dtype) {
  nn::Sequential model = perceptron(dtype);
  optim::Adam adam({.lr = 2e-3});
  adam.attach(model.parameters());
  FitResult result = Trainer({.max_epochs = 5})
                         .fit(model, adam, nn::CrossEntropyLoss(), make_digits({.train = 2000, .test = 500}));
  for (const Tensor& p : model.parameters()) EXPECT_EQ(p.dtype(), dtype);
  for (const Tensor& t : adam.state()) EXPECT_TRUE(t.rank() == 0 || t.dtype() == dtype) << t.name();
  return *result.history.back().val_accuracy;
}

TEST(TrainingInHalf, ReachesTheAccuracyOfF32OnDigits) {
  const double single = fitted_accuracy(DType::f32);
  EXPECT_GT(single, 0.9);
  for (DType half : {DType::bf16}) {
    double accuracy = fitted_accuracy(half);
    EXPECT_GT(accuracy, 0.9) << name(half);
    EXPECT_NEAR(accuracy, single, 0.02) << name(half);
  }
}

TEST(TrainingInHalf, LearnsDigitsOpByOp) {
  constexpr int64_t kRows = 50, kSteps = 120;
  const DataSplits data = make_digits({.train = 2000, .test = 500});
  auto batch = [](const Dataset& part, int64_t first, int64_t rows) {
    std::vector<uint8_t> pixels(static_cast<size_t>(rows * 784));
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < rows; ++i) {
      part.read(first + i, std::span(pixels).subspan(static_cast<size_t>(i) * 784, 784));
      labels.push_back(part.label(first + i));
    }
    return std::pair(normalize(tensor(pixels, {rows, 1, 28, 28}), {{0.1f}, {0.3f}}).to(DType::bf16),
                     tensor(labels, {rows}));
  };
  nn::Sequential model = perceptron(DType::bf16);
  optim::Adam adam({.lr = 2e-3});
  adam.attach(model.parameters());
  nn::CrossEntropyLoss loss;
  for (int64_t i = 0; i < kSteps; ++i) {
    auto [x, labels] = batch(*data.train, i * kRows % 2000, kRows);
    Tensor value = loss(model(x), labels);
    EXPECT_EQ(value.dtype(), DType::bf16);
    adam.step(grad(value, model.parameters()));
  }
  NoGrad no_grad;
  auto [x, labels] = batch(*data.test, 0, 500);
  EXPECT_GT(mean(cast(equal(argmax(model(x), 1), labels), DType::f32)).item<double>(), 0.85);
}

class NetworkInHalf : public testing::TestWithParam<std::tuple<std::string, DType>> {};
INSTANTIATE_TEST_SUITE_P(Zoo, NetworkInHalf,
                         testing::Combine(testing::Values("lenet", "simple-cnn", "w3"),
                                          testing::Values(DType::f16, DType::bf16)),
                         [](const auto& suite) {
                           std::string text = std::get<0>(suite.param);
                           std::erase(text, '-');
                           return text + "_" + std::string(name(std::get<1>(suite.param)));
                         });

std::vector<std::byte> bits_of(nn::Module& model) {
  std::vector<std::byte> bits;
  for (const nn::NamedTensors& tensors : {model.named_parameters(), model.named_buffers()})
    for (const auto& [name, t] : tensors) bits.insert(bits.end(), t.bytes().begin(), t.bytes().end());
  return bits;
}

TEST_P(NetworkInHalf, GivesTheSameBitsEagerlyAndCompiledWithEachPassOff) {
  constexpr int64_t kRows = 6;
  const auto& [network, dtype] = GetParam();
  auto made = [&] {
    nn::Model model = initialized(network, 3);
    model.module->to(dtype);
    return model;
  };
  // (Second moments of gradients this small are 0 in f16.)
  auto sgd = [] { return std::make_unique<optim::SGD>(optim::SGDConfig{.lr = 0.01, .momentum = 0.9}); };
  nn::Model eager = made();
  auto optimizer = sgd();
  optimizer->attach(eager.module->parameters());
  Shape shape = {kRows};
  for (int64_t extent : eager.input) shape.push_back(extent);
  auto pixels = [&](uint32_t step) {
    std::vector<uint8_t> values;
    for (int64_t v : formula_labels(step, shape.numel(), 256)) values.push_back(static_cast<uint8_t>(v));
    return values;
  };
  auto labels = [&](uint32_t step) {
    std::vector<int64_t> drawn = formula_labels(100 + step, kRows, eager.classes);
    return std::vector<int32_t>(drawn.begin(), drawn.end());
  };
  nn::CrossEntropyLoss loss;
  RandomState random(11);
  UseRandom use(random);
  for (uint32_t step = 1; step <= 3; ++step) {
    Tensor x = normalize(tensor(pixels(step), shape), normalization_of(eager.input)).to(dtype);
    Tensor value = loss(widened((*eager.module)(x)), tensor(labels(step), {kRows}));
    optimizer->step(grad(value, eager.module->parameters()));
    random.advance();
  }
  const std::vector<std::byte> expected = bits_of(*eager.module);
  for (const CompileOptions& compile :
       {CompileOptions{}, CompileOptions{.simplify = false}, CompileOptions{.layout = false},
        CompileOptions{.fuse = false}, CompileOptions{.reuse_memory = false}}) {
    Net net(made(), sgd(), {kRows}, {.normalization = {}, .seed = 11, .compile = compile});
    for (uint32_t step = 1; step <= 3; ++step) net.step->train(pixels(step), labels(step));
    EXPECT_TRUE(bits_of(*net.model.module) == expected);
  }
}

/// Activations wait in two bytes an element, and widened values are short-lived; without the passes that f32
/// alone has.
TEST(TrainingInHalf, TakesLessMemory) {
  for (const char* network : {"lenet", "w4s"}) {
    auto memory = [&](DType of) {
      nn::Model model = initialized(network, 3);
      model.module->to(of);
      Net net(std::move(model), std::make_unique<optim::Adam>(), {},
              {.normalization = {}, .compile = {.pixels = false, .recompute = false}});
      return net.step->make_train_plan(64).memory;
    };
    const MemoryReport half = memory(DType::bf16), single = memory(DType::f32);
    EXPECT_LT(half.parameter_bytes, 0.51 * static_cast<double>(single.parameter_bytes)) << network;
    EXPECT_LT(half.state_bytes, 0.51 * static_cast<double>(single.state_bytes)) << network;
    EXPECT_LT(half.activation_bytes, 0.7 * static_cast<double>(single.activation_bytes)) << network;
  }
}

}  // namespace
}  // namespace wholestep::test
