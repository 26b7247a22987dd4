// The networks known by name: their size is the published one, and each, on pictures or sequences a test can
// afford, learns a batch, op by op and as one compiled step alike.
#include "wholestep/nn/zoo.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "support/formula.h"
#include "support/test_device.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/grad.h"
#include "wholestep/io/files.h"
#include "wholestep/io/json.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/pool2d.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/ops/random.h"
#include "wholestep/ops/shape.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::formula_labels;
using test::formula_values;
using test::is_of_part;
using test::of_part;
using test::test_device;

int64_t parameters_of(const std::string& name) {
  int64_t count = 0;
  for (const Tensor& p : nn::find_model(name).module->parameters()) count += p.numel();
  return count;
}

TEST(Zoo, NetworksHaveThePublishedNumbersOfParameters) {
  // torchvision 0.20's; GPT-2's with its last layer tied to the first; LeNet-5's as counted by hand.
  for (auto [name, parameters] : {std::pair<const char*, int64_t>{"lenet", 61706},
                                  {"resnet18", 11689512},
                                  {"resnet34", 21797672},
                                  {"resnet50", 25557032},
                                  {"resnet18-cifar", 11173962},
                                  {"vgg11", 132863336},
                                  {"vgg16", 138357544},
                                  {"vit-b-16", 86567656},
                                  {"gpt2", 124439808}})
    EXPECT_EQ(parameters_of(name), parameters) << name;
  json counts = read_json_file(std::string(WHOLESTEP_SOURCE_DIR) + "/tests/reference/layers.json")["counts"];
  EXPECT_EQ(parameters_of("lstm-lm"), counts["lstm-lm"].get<int64_t>());
}

/// One SGD step on (x, labels) with the logits as rows of classes.
struct Training {
  std::unique_ptr<nn::Module> model;
  optim::SGD sgd;

  Training(std::unique_ptr<nn::Module> module, double lr) : model(std::move(module)), sgd({.lr = lr}) {
    model->initialize(3);
    sgd.attach(model->parameters());
  }
  Tensor step(const Tensor& x, const Tensor& labels) {
    Tensor logits = (*model)(x);
    Tensor loss = nn::CrossEntropyLoss()(reshape(logits, {-1, logits.dim(-1)}), labels);
    sgd.step(grad(loss, sgd.parameters()));
    return loss;
  }
};

/// Takes a few steps on one batch, eagerly on the host and compiled: the same losses, on a GPU up to
/// rounding, and the last is lower than the first.
void expect_learns(const std::string& name, const std::function<std::unique_ptr<nn::Module>()>& make,
                   const Tensor& x, const Tensor& labels, double lr) {
  Training eager(make(), lr), traced(make(), lr);
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    Tensor in = graph->add_input(InputKind::kBatch, "x", x.type()),
           wanted = graph->add_input(InputKind::kBatch, "labels", labels.type());
    RandomState random(1);
    UseRandom use(random);
    graph->add_output("loss", traced.step(in, wanted));
  }
  CompiledStep compiled(make_plan(graph, {.backend = &test_device()}));
  compiled.write("x", x);
  compiled.write("labels", labels);
  std::vector<double> losses;
  RandomState random(1);
  UseRandom use(random);
  for (int step = 0; step < 3; ++step) {
    random.next_node = 0;
    losses.push_back(eager.step(x, labels).item<double>());
    compiled.run();
    EXPECT_NEAR(compiled.output("loss").item<double>(), losses.back(),
                test_device().host_memory() ? 0 : 1e-4 * losses.back())
        << name << " step " << step;
  }
  EXPECT_LT(losses.back(), losses.front()) << name;
}

std::unique_ptr<nn::Module> of_zoo(const std::string& name) { return std::move(nn::find_model(name).module); }

std::unique_ptr<nn::Module> of_layers(const char* layers, const char* head) {
  return nn::read_model(json::parse(std::string("{") + head + ", \"layers\": " + layers + "}"), "small")
      .module;
}

Tensor pictures(int64_t n, int64_t size) {
  return tensor(formula_values<float>(1, n * 3 * size * size), {n, 3, size, size});
}

/// Batch norm over the two values that are left of pictures of 32 pixels makes steps of rounding: 1e-14 of x
/// comes to 0.06 of ResNet-50's second loss. So a GPU, whose sums have another order, gets larger ones, in
/// f64.
TEST(Zoo, ResidualNetworksLearn) {
  WHOLESTEP_NEEDS_TEST_DEVICE();
  const bool on_host = test_device().host_memory();
  const DType dtype = on_host ? DType::f32 : DType::f64;
  Tensor labels = tensor(formula_labels(2, 2, 10), {2});
  for (std::string name :
       of_part(std::vector<std::string>{"resnet18", "resnet34", "resnet50", "resnet18-cifar"})) {
    auto make = [&] {
      auto model = of_zoo(name);
      model->to(dtype);
      return model;
    };
    expect_learns(name, make,
                  pictures(2, name == "resnet18-cifar" ? 16
                              : on_host                ? 32
                                                       : 64)
                      .to(dtype),
                  labels, 0.01);
  }
}

/// Tests that one process does whole, numbered behind the four residual networks.
enum WholeTest : size_t { kVgg = 4, kVisionTransformer, kLanguageModels };

TEST(Zoo, VggLearnsWithASmallerHead) {
  WHOLESTEP_NEEDS_TEST_DEVICE();
  if (!is_of_part(kVgg)) return;
  auto make = [] {
    auto model = of_zoo("vgg11");
    auto& layers = dynamic_cast<nn::Sequential&>(*model);
    for (int i = 0; i < 7; ++i) layers.erase(layers.size() - 1);
    layers.replace(layers.size() - 2, nn::AdaptiveAvgPool2d({.output_size = 1}));
    layers.add(nn::Linear({.in_features = 512, .out_features = 10}));
    return model;
  };
  expect_learns("vgg11", make, pictures(2, 32), tensor(formula_labels(2, 2, 10), {2}), 0.5);
}

TEST(Zoo, TheVisionTransformerLearns) {
  WHOLESTEP_NEEDS_TEST_DEVICE();
  if (!is_of_part(kVisionTransformer)) return;
  auto make = [] {
    return of_layers(
        R"([{"type": "VisionTransformer", "image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 4,
                          "hidden_dim": 32, "mlp_dim": 64, "num_classes": 10}])",
        R"("input": [3, 32, 32], "classes": 10)");
  };
  expect_learns("vit", make, pictures(4, 32), tensor(formula_labels(2, 4, 10), {4}), 0.1);
}

TEST(Zoo, LanguageModelsLearn) {
  WHOLESTEP_NEEDS_TEST_DEVICE();
  if (!is_of_part(kLanguageModels)) return;
  Tensor tokens = tensor(formula_labels(1, 3 * 16, 65), {3, 16}),
         next = tensor(formula_labels(2, 3 * 16, 65), {48});
  expect_learns(
      "gpt-char", [] { return of_zoo("gpt-char"); }, tokens, next, 0.1);
  auto lstm = [] {
    return of_layers(
        R"([{"type": "Embedding", "num_embeddings": 65, "embedding_dim": 12}, {"type": "Dropout"},
                         {"type": "LSTM", "input_size": 12, "hidden_size": 20, "num_layers": 2, "batch_first": true},
                         {"type": "Dropout", "p": 0.1}, {"type": "Linear", "in_features": 20, "out_features": 65}])",
        R"("input": [16], "classes": 65, "tokens": true)");
  };
  expect_learns("lstm-lm", lstm, tokens, next, 1);
}

/// Trains on one batch and returns the last loss.
double loss_after(int64_t steps, nn::Module& model, optim::Optimizer& optimizer, const Tensor& x,
                  const Tensor& labels) {
  model.initialize(1);
  optimizer.attach(model.parameters());
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    Tensor logits = model(graph->add_input(InputKind::kBatch, "x", x.type()));
    Tensor wanted = graph->add_input(InputKind::kBatch, "labels", labels.type());
    Tensor loss = nn::CrossEntropyLoss()(reshape(logits, {-1, logits.dim(-1)}), wanted);
    optimizer.step(grad(loss, optimizer.parameters()));
    graph->add_output("loss", loss);
  }
  CompiledStep compiled(make_plan(graph));
  compiled.write("x", x);
  compiled.write("labels", labels);
  for (int64_t step = 0; step < steps; ++step) compiled.run();
  return compiled.output("loss").item<double>();
}

/// A model's description with an eighth of the channels everywhere but in pictures.
json narrowed(json spec) {
  if (spec.is_object())
    for (const char* key : {"in_channels", "out_channels", "num_features", "in_features"})
      if (spec.contains(key) && spec[key] > 3) spec[key] = spec[key].get<int64_t>() / 8;
  for (json& inner : spec)
    if (inner.is_structured()) inner = narrowed(inner);
  return spec;
}

TEST(Zoo, ANarrowResNetKnowsSixteenPicturesByHeart) {
  json spec = narrowed(nn::model_spec(nn::find_model("resnet18-cifar")));
  nn::Model model = nn::read_model(spec, "narrow");
  optim::SGD sgd({.lr = 0.1, .momentum = 0.9});
  EXPECT_LT(loss_after(40, *model.module, sgd, pictures(16, 32), tensor(formula_labels(2, 16, 10), {16})),
            0.01);
}

TEST(Zoo, AnLSTMLearnsARhyme) {
  const std::string rhyme =
      "Twinkle, twinkle, little star, how I wonder what you are! Up above the world so high, like a diamond "
      "in "
      "the sky. Twinkle, twinkle, little star, how I wonder what you are! When the blazing sun is gone, ";
  std::set<char> characters(rhyme.begin(), rhyme.end());
  constexpr int64_t kRows = 8, kLength = 24;
  std::vector<int64_t> from, to;
  for (int64_t i = 0; i < kRows * kLength; ++i)
    for (auto [list, at] : {std::pair(&from, i), std::pair(&to, i + 1)})
      list->push_back(
          std::distance(characters.begin(), characters.find(rhyme[static_cast<size_t>(at) % rhyme.size()])));
  const std::string classes = std::to_string(characters.size());
  auto model =
      of_layers((R"([{"type": "Embedding", "num_embeddings": )" + classes + R"(, "embedding_dim": 16},
      {"type": "LSTM", "input_size": 16, "hidden_size": 48, "batch_first": true},
      {"type": "Linear", "in_features": 48, "out_features": )" +
                 classes + "}]")
                    .c_str(),
                (R"("input": [24], "tokens": true, "classes": )" + classes).c_str());
  optim::Adam adam({.lr = 0.02});
  double loss = loss_after(60, *model, adam, tensor(from, {kRows, kLength}), tensor(to, {kRows * kLength}));
  EXPECT_LT(loss, 0.1);
}

/// Real text, where it is: 80 steps take the loss well below the 3.3 nats that single characters' frequencies
/// give. examples/gpt.cpp goes on from there.
TEST(Zoo, GPTLearnsTinyShakespeare) {
  const std::string path = std::string(WHOLESTEP_SOURCE_DIR) + "/../shared/data/text/tinyshakespeare.txt";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no ../shared/data/text beside the sources";
  std::string text = read_text_file(path, 1 << 21);
  std::set<char> characters(text.begin(), text.end());
  ASSERT_EQ(characters.size(), 65u);
  std::vector<int64_t> tokens;
  for (char c : text) tokens.push_back(std::distance(characters.begin(), characters.find(c)));
  constexpr int64_t kRows = 16, kLength = 64;
  auto stretches = [&](uint32_t stream) {  // of the text: [rows, length], and what follows
    std::vector<int64_t> from, to;
    for (int64_t start : formula_labels(stream, kRows, static_cast<int64_t>(tokens.size()) - kLength)) {
      from.insert(from.end(), tokens.begin() + start, tokens.begin() + start + kLength);
      to.insert(to.end(), tokens.begin() + start + 1, tokens.begin() + start + 1 + kLength);
    }
    return std::pair(tensor(from, {kRows, kLength}), tensor(to, {kRows * kLength}));
  };
  std::unique_ptr<nn::Module> model = of_zoo("gpt-char");
  model->initialize(1);
  optim::Adam adam({.lr = 2e-3});
  adam.attach(model->parameters());
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::i64, {kRows, kLength}}),
           next = graph->add_input(InputKind::kBatch, "next", {DType::i64, {kRows * kLength}});
    Tensor loss = nn::CrossEntropyLoss()(reshape((*model)(x), {-1, 65}), next);
    adam.step(grad(loss, adam.parameters()));
    graph->add_output("loss", loss);
  }
  CompiledStep step(make_plan(graph));
  double loss = 0;
  for (uint32_t i = 0; i < 80; ++i) {
    auto [x, next] = stretches(100 + i);
    step.write("x", x);
    step.write("next", next);
    step.run();
    loss = step.output("loss").item<double>();
    if (i == 0) {
      EXPECT_NEAR(loss, std::log(65), 0.1);
    }
  }
  EXPECT_LT(loss, 2.9);
}

/// Deviations of GPT-2's weights: 0.02, over sqrt(2 n_layer) where results are added up.
TEST(Zoo, GPTIsDrawnAsGPT2) {
  nn::Model model = nn::find_model("gpt-char");
  for (const auto& [name, p] : model.module->named_parameters()) {
    if (p.rank() < 2) continue;
    double squares = 0;
    for (float v : p.data<float>()) squares += double{v} * double{v};
    bool adds = name.ends_with("out_proj.weight") || name.ends_with("linear2.weight");
    double std = adds ? 0.02 / std::sqrt(8) : 0.02;
    EXPECT_NEAR(std::sqrt(squares / static_cast<double>(p.numel())), std, 0.04 * std) << name;
  }
}

}  // namespace
}  // namespace wholestep
