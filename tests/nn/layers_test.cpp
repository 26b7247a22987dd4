// What layers do to values: normalisation, dropout, shapes, and large stacks.
#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"
#include "support/formula.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/graph.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/attention.h"
#include "wholestep/nn/batch_norm.h"
#include "wholestep/nn/bilinear.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/conv2d.h"
#include "wholestep/nn/dropout.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/gpt.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/pool2d.h"
#include "wholestep/nn/recurrent.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/nn/transformer.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::formula_values;

Tensor normal(const Shape& shape, double mean, double std, const std::string& name) {
  Tensor t = zeros({DType::f32, shape});
  nn::init::normal(t, mean, std, nn::init::stream(4, name));
  return t;
}

Tensor buffer(nn::Module& module, const std::string& wanted) {
  for (const auto& [name, tensor] : module.named_buffers())
    if (name == wanted) return tensor;
  ADD_FAILURE() << "no buffer " << wanted;
  return {};
}

TEST(BatchNorm, T45WhileTrainingTheOutputHasMean0AndVariance1AChannel) {
  nn::BatchNorm2d layer({.num_features = 3});
  Tensor y = layer(normal({16, 3, 10, 10}, 5, 2, "x"));
  Tensor means = mean(y, {0, 2, 3}), squares = mean(square(y), {0, 2, 3});
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(means.data<float>()[c], 0, 1e-5);
    EXPECT_NEAR(squares.data<float>()[c], 1, 1e-4);
  }
}

TEST(BatchNorm, T46RunningStatisticsConvergeAndEvaluationUsesThem) {
  nn::BatchNorm2d layer({.num_features = 2});
  for (int step = 0; step < 100; ++step) layer(normal({32, 2, 8, 8}, 3, 2, "x" + std::to_string(step)));
  for (size_t c = 0; c < 2; ++c) {
    EXPECT_NEAR(buffer(layer, "running_mean").data<float>()[c], 3, 0.05);
    EXPECT_NEAR(buffer(layer, "running_var").data<float>()[c], 4, 0.1);
  }
  EXPECT_EQ(buffer(layer, "num_batches_tracked").item<int64_t>(), 100);
  Tensor x = normal({256, 2, 8, 8}, 3, 2, "last");
  Tensor trained = layer(x);
  layer.eval();
  Tensor before = buffer(layer, "running_mean").clone(), evaluated = layer(x);
  EXPECT_NEAR(mean(abs(trained - evaluated)).item<double>(), 0, 0.02);
  EXPECT_EQ(buffer(layer, "running_mean").data<float>()[0], before.data<float>()[0]);
  EXPECT_EQ(buffer(layer, "num_batches_tracked").item<int64_t>(), 101);
}

TEST(BatchNorm, T46OneStepRecordsTheUnbiasedVarianceWithMomentum) {
  nn::BatchNorm1d layer({.num_features = 1, .momentum = 0.25});
  layer(tensor<float>({1, 2, 3, 6}, {4, 1}));  // mean 3, unbiased variance 14/3
  EXPECT_NEAR(buffer(layer, "running_mean").item<double>(), 0.25 * 3, 1e-6);
  EXPECT_NEAR(buffer(layer, "running_var").item<double>(), 0.75 * 1 + 0.25 * 14.0 / 3, 1e-6);
}

TEST(BatchNorm, T46StatisticsAreStateOfATraceAndParametersAreDrawnAsOnesAndZeros) {
  nn::BatchNorm2d layer({.num_features = 2});
  EXPECT_EQ(layer.parameters()[0].data<float>()[1], 1.0f);
  EXPECT_EQ(layer.parameters()[1].data<float>()[1], 0.0f);
  EXPECT_EQ(buffer(layer, "running_mean").data<float>()[0], 0.0f);
  EXPECT_EQ(buffer(layer, "running_var").data<float>()[0], 1.0f);
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    layer(graph->add_input(InputKind::kBatch, "x", {DType::f32, {4, 2, 3, 3}}));
  }
  std::vector<std::string> updated;
  for (const Update& update : graph->updates) updated.push_back(graph->find_input(update.target)->name);
  EXPECT_THAT(updated, testing::UnorderedElementsAre("running_mean", "running_var", "num_batches_tracked"));
}

TEST(BatchNorm, WithoutAffineHasNoParameters) {
  nn::BatchNorm2d plain({.num_features = 2, .affine = false}), affine({.num_features = 2});
  Tensor x = normal({4, 2, 3, 3}, 1, 3, "x");
  EXPECT_TRUE(plain.parameters().empty());
  Tensor a = plain(x), b = affine(x);
  for (size_t i = 0; i < 72; ++i) EXPECT_EQ(a.data<float>()[i], b.data<float>()[i]);
}

TEST(BatchNorm, T69WrongFeatureCountsAndRanksAreErrors) {
  nn::BatchNorm2d layer({.num_features = 3});
  expect_error(ErrorCode::kUsage, {"BatchNorm2d(num_features=3)", "f32[4, 2, 3, 3]", "[N, 3, H, W]"}, [&] {
    layer(zeros({DType::f32, {4, 2, 3, 3}}));
  });
  expect_error(ErrorCode::kUsage, {"f32[4, 3]", "[N, 3, H, W]"}, [&] { layer(zeros({DType::f32, {4, 3}})); });
  nn::BatchNorm1d flat({.num_features = 3});
  EXPECT_EQ(flat(zeros({DType::f32, {4, 3}})).shape(), (Shape{4, 3}));
  EXPECT_EQ(flat(zeros({DType::f32, {4, 3, 5}})).shape(), (Shape{4, 3, 5}));
  expect_error(ErrorCode::kUsage, {"no variance", "f32[1, 3]", "eval()"}, [&] {
    flat(zeros({DType::f32, {1, 3}}));
  });
}

/// Every layer with dropout inside draws anew while training and does not in evaluation.
TEST(Dropout, T45InsideOtherLayersActsWhileTrainingOnly) {
  auto check = [](nn::Module&& layer, const Tensor& x) {
    auto same = [&] {
      Tensor a = layer(x), b = layer(x);
      return std::ranges::equal(a.bytes(), b.bytes());
    };
    EXPECT_FALSE(same()) << layer.description();
    layer.eval();
    EXPECT_TRUE(same()) << layer.description();
  };
  Tensor x = normal({6, 5, 8}, 0, 1, "x");
  check(nn::DropConnect({.in_features = 8, .out_features = 3}), x);
  check(nn::MultiheadAttention({.embed_dim = 8, .num_heads = 2, .dropout = 0.5}), x);
  check(nn::TransformerEncoderLayer({.d_model = 8, .nhead = 2, .dim_feedforward = 16, .dropout = 0.5}), x);
  check(nn::LSTM({.input_size = 8, .hidden_size = 4, .num_layers = 2, .dropout = 0.5}), x);
  check(nn::GPT({.vocab_size = 3, .block_size = 8, .n_layer = 1, .n_head = 2, .n_embd = 4}),
        tensor(test::formula_labels(1, 10, 3), {2, 5}));
}

TEST(DropConnect, DropsWeightsAndKeepsTheirExpectation) {
  nn::DropConnect layer({.in_features = 400, .out_features = 500, .p = 0.25, .bias = false});
  nn::init::constant(layer.parameters()[0], 1);
  Tensor y = layer(full({1, 400}, 1));  // each output is the number of weights kept / 0.75
  double total = 0;
  for (float v : y.data<float>()) total += double{v} / 500;
  EXPECT_NEAR(total, 400, 3);
  EXPECT_NE(y.data<float>()[0], y.data<float>()[1]);
}

/// The future does not reach the past: a change of one token changes logits from its place on.
TEST(GPT, IsCausal) {
  nn::GPT gpt({.vocab_size = 5, .block_size = 6, .n_layer = 2, .n_head = 2, .n_embd = 8, .dropout = 0});
  gpt.initialize(1);
  std::vector<int64_t> tokens = {0, 1, 2, 3, 4, 0};
  Tensor before = gpt(tensor(tokens, {1, 6}));
  tokens[3] = 0;
  Tensor after = gpt(tensor(tokens, {1, 6}));
  for (size_t place = 0; place < 6; ++place) {
    bool same = std::ranges::equal(before.data<float>().subspan(place * 5, 5),
                                   after.data<float>().subspan(place * 5, 5));
    EXPECT_EQ(same, place < 3) << place;
  }
}

/// A key that is masked is as good as absent, and nothing becomes infinite on the way.
TEST(MultiheadAttention, MaskedKeysAreAsGoodAsAbsent) {
  nn::MultiheadAttention layer({.embed_dim = 4, .num_heads = 2, .batch_first = true});
  layer.initialize(1);
  Tensor x = normal({1, 3, 4}, 0, 1, "x"), two = slice(x, 1, 0, 2);
  Tensor padding = cast(tensor<int64_t>({0, 0, 1}, {1, 3}), DType::boolean);
  Tensor masked = slice(layer(x, x, x, {.key_padding_mask = padding}), 1, 0, 2), absent = layer(two);
  for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(masked.data<float>()[i], absent.data<float>()[i], 1e-6);
  Tensor infinite = log(tensor<float>({1, 1, 0}, {1, 3}));  // PyTorch's way to say it
  Tensor again = slice(layer(x, x, x, {.key_padding_mask = infinite}), 1, 0, 2);
  EXPECT_TRUE(std::ranges::equal(again.bytes(), masked.bytes()));
}

TEST(Dropout, T45HalfTheUnitsAreZeroAndEvaluationIsTheIdentity) {
  nn::Dropout layer({.p = 0.5});
  Tensor x = full({100000}, 1), y = layer(x);
  int64_t zeroed = 0;
  for (float v : y.data<float>()) {
    EXPECT_TRUE(v == 0.0f || v == 2.0f);
    zeroed += v == 0.0f;
  }
  EXPECT_NEAR(static_cast<double>(zeroed), 50000, 1000);
  layer.eval();
  Tensor same = layer(x);
  for (float v : same.data<float>()) EXPECT_EQ(v, 1.0f);
}

TEST(Dropout, T47EveryCallAndEveryStepDrawsAnewAndTheMeanStays) {
  nn::Dropout layer({.p = 0.3});
  RandomState random(1);
  UseRandom use(random);
  Tensor x = full({20000}, 1);
  auto differ = [](const Tensor& a, const Tensor& b) {
    int64_t count = 0;
    for (size_t i = 0; i < 20000; ++i) count += a.data<float>()[i] != b.data<float>()[i];
    return static_cast<double>(count) / 20000;
  };
  Tensor first = layer(x), second = layer(x);
  random.advance();
  Tensor next = layer(x);
  EXPECT_NEAR(differ(first, second), 2 * 0.3 * 0.7, 0.02);
  EXPECT_NEAR(differ(first, next), 2 * 0.3 * 0.7, 0.02);
  for (const Tensor& y : {first, second, next}) EXPECT_NEAR(mean(y).item<double>(), 1, 0.02);
  RandomState again(1);
  UseRandom use_again(again);
  EXPECT_EQ(differ(first, layer(x)), 0);
}

TEST(Conv2d, T73NamesItsChannelsWhenTheyDoNotFit) {
  nn::Sequential model(nn::Conv2d({.in_channels = 3, .out_channels = 4, .kernel_size = 3}));
  expect_error(ErrorCode::kUsage,
               {"layers_test.cpp:", "layers.0", "Conv2d(in_channels=3, out_channels=4, kernel_size=3)",
                "f32[2, 1, 8, 8]", "[N, 3, H, W]"},
               [&] {
                 model(zeros({DType::f32, {2, 1, 8, 8}}));
               });
}

TEST(Conv2d, ConfigsThatCannotBeAreErrors) {
  expect_error(ErrorCode::kBadConfig,
               {"'in_channels' got 3, expected a multiple of 'groups' (2)", "'out_channels' got 5"},
               [] { nn::Conv2d({.in_channels = 3, .out_channels = 5, .kernel_size = 1, .groups = 2}); });
  expect_error(ErrorCode::kBadConfig, {"'kernel_size' got 0", "'stride' got [1,0], expected at least 1"}, [] {
    nn::Conv2d({.in_channels = 1, .out_channels = 1, .stride = {1, 0}});
  });
  expect_error(ErrorCode::kBadConfig, {"'padding' got 2, expected at most half of 'kernel_size', 3"},
               [] { nn::MaxPool2d({.kernel_size = 3, .padding = 2}); });
  expect_error(ErrorCode::kBadConfig, {"'p' got 1.5, expected 0 to 1"}, [] { nn::Dropout({.p = 1.5}); });
  expect_error(ErrorCode::kBadConfig, {"'p' got a value that is no number, expected 0 to 1"},
               [] { nn::Dropout({.p = std::nan("")}); });
}

TEST(Pool2d, TheStrideIsTheKernelUnlessGiven) {
  Tensor x = zeros({DType::f32, {1, 2, 9, 6}});
  EXPECT_EQ(nn::MaxPool2d({.kernel_size = {3, 2}})(x).shape(), (Shape{1, 2, 3, 3}));
  EXPECT_EQ(nn::MaxPool2d({.kernel_size = 3, .stride = 1, .padding = 1})(x).shape(), (Shape{1, 2, 9, 6}));
  EXPECT_EQ(nn::AvgPool2d({.kernel_size = 2, .stride = {3, 2}})(x).shape(), (Shape{1, 2, 3, 3}));
  EXPECT_EQ(nn::AdaptiveAvgPool2d({.output_size = {1, 4}})(x).shape(), (Shape{1, 2, 1, 4}));
}

TEST(Layers, T61AHundredLayersBuildAndTrain) {
  nn::Sequential model;
  for (int i = 0; i < 100; ++i) {
    model.add(nn::Linear({.in_features = 16, .out_features = 16}));
    model.add(nn::Residual(nn::Sequential(nn::Linear({.in_features = 16, .out_features = 16}), nn::Tanh())));
  }
  std::vector<Tensor> parameters = model.parameters();
  EXPECT_EQ(parameters.size(), 400u);  // and two moments each: 1200 tensors
  optim::Adam adam({.lr = 1e-3});
  adam.attach(parameters);
  Tensor x = normal({8, 16}, 0, 1, "x"), labels = tensor(test::formula_labels(1, 8, 16), {8});
  double first = 0, last = 0;
  for (int step = 0; step < 20; ++step) {
    Tensor loss = nn::CrossEntropyLoss()(model(x), labels);
    (step == 0 ? first : last) = loss.item<double>();
    adam.step(grad(loss, parameters));
  }
  EXPECT_LT(last, first - 0.1);
}

TEST(Layers, T43ARateOfZeroKeepsWeightsAndLoss) {
  nn::Model model = nn::find_model("lenet");
  std::vector<Tensor> parameters = model.module->parameters();
  optim::SGD sgd({.lr = 0, .momentum = 0.9});
  sgd.attach(parameters);
  Tensor x = normal({4, 1, 28, 28}, 0, 1, "x"), labels = tensor<int64_t>({1, 2, 3, 4}, {4});
  std::vector<double> losses;
  for (int step = 0; step < 2; ++step) {
    Tensor loss = nn::CrossEntropyLoss()((*model.module)(x), labels);
    losses.push_back(loss.item<double>());
    sgd.step(grad(loss, parameters));
  }
  EXPECT_EQ(losses[0], losses[1]);
}

}  // namespace
}  // namespace wholestep
