// Gradients of every layer's parameters and input under every loss, against central differences in f64.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/formula.h"
#include "support/gradient_check.h"
#include "support/small_models.h"
#include "wholestep/graph/grad.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/attention.h"
#include "wholestep/nn/batch_norm.h"
#include "wholestep/nn/bilinear.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/conv1d.h"
#include "wholestep/nn/conv2d.h"
#include "wholestep/nn/conv_transpose2d.h"
#include "wholestep/nn/dropout.h"
#include "wholestep/nn/embedding.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/gpt.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/model_spec.h"
#include "wholestep/nn/norm.h"
#include "wholestep/nn/pool1d.h"
#include "wholestep/nn/pool2d.h"
#include "wholestep/nn/recurrent.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/nn/transformer.h"
#include "wholestep/nn/vision_transformer.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/ops/arrange.h"
#include "wholestep/optim/sgd.h"

namespace wholestep {
namespace {

using nn::Sequential;
using test::formula_values;

/// 1 where an element is above 0: indices for an embedding, without a gradient.
class Bright final : public nn::Module {
 public:
  Tensor forward(const Tensor& x) override { return cast(x > 0.0, DType::i64); }
};

/// A small classifier around one kind of layer. It takes [2, 2, 4, 4] to [2, 3].
struct LayerCase {
  std::string type;
  Sequential model;
};

template <class Layer>
Sequential around(Layer layer, int64_t features) {
  return Sequential(nn::Conv2d({.in_channels = 2, .out_channels = 2, .kernel_size = 1}), std::move(layer),
                    nn::Flatten(), nn::Linear({.in_features = features, .out_features = 3}));
}

std::vector<LayerCase> layer_cases() {
  std::vector<LayerCase> cases;
  auto add = [&](const char* type, Sequential model) { cases.push_back({type, std::move(model)}); };
  add("Linear", Sequential(nn::Flatten(), nn::Linear({.in_features = 32, .out_features = 4}), nn::Tanh(),
                           nn::Linear({.in_features = 4, .out_features = 3, .bias = false})));
  add("Bilinear", Sequential(nn::Flatten(), nn::Linear({.in_features = 32, .out_features = 3}),
                             nn::Bilinear({.in1_features = 3, .in2_features = 3, .out_features = 3})));
  add("DropConnect", Sequential(nn::Flatten(), nn::DropConnect({.in_features = 32, .out_features = 3})));
  // Which pixels are bright: indices from [2, 32] to rows of 2.
  add("Embedding",
      Sequential(nn::Flatten(), Bright(), nn::Embedding({.num_embeddings = 2, .embedding_dim = 2}),
                 nn::Flatten(), nn::Linear({.in_features = 64, .out_features = 3})));
  auto sequence = [&](auto layer, int64_t features) {  // [2, 8, 4]
    return Sequential(nn::Reshape({.shape = {8, 4}}), std::move(layer), nn::Flatten(),
                      nn::Linear({.in_features = features, .out_features = 3}));
  };
  add("Conv1d",
      sequence(nn::Conv1d({.in_channels = 8, .out_channels = 4, .kernel_size = 2, .groups = 2}), 12));
  add("Conv2d", around(nn::Conv2d({.in_channels = 2,
                                   .out_channels = 4,
                                   .kernel_size = {2, 3},
                                   .stride = {1, 2},
                                   .padding = 1,
                                   .groups = 2}),
                       40));
  add("ConvTranspose2d",
      around(
          nn::ConvTranspose2d(
              {.in_channels = 2, .out_channels = 2, .kernel_size = 2, .stride = 2, .output_padding = {1, 0}}),
          144));
  add("BatchNorm1d", Sequential(nn::Flatten(), nn::Linear({.in_features = 32, .out_features = 3}),
                                nn::BatchNorm1d({.num_features = 3})));
  add("BatchNorm2d", around(nn::BatchNorm2d({.num_features = 2}), 32));
  add("LayerNorm", around(nn::LayerNorm({.normalized_shape = {4, 4}}), 32));
  add("RMSNorm", around(nn::RMSNorm({.normalized_shape = {4}}), 32));
  add("GroupNorm", sequence(nn::GroupNorm({.num_groups = 4, .num_channels = 8}), 32));
  add("MaxPool1d", sequence(nn::MaxPool1d({.kernel_size = 2}), 16));
  add("MaxPool2d", around(nn::MaxPool2d({.kernel_size = 2}), 8));
  add("AvgPool1d", sequence(nn::AvgPool1d({.kernel_size = 3, .stride = 1}), 16));
  add("AvgPool2d", around(nn::AvgPool2d({.kernel_size = 3, .stride = 1, .padding = 1}), 32));
  add("AdaptiveAvgPool2d", around(nn::AdaptiveAvgPool2d({.output_size = 3}), 18));
  add("RNN", sequence(nn::RNN({.input_size = 4, .hidden_size = 2, .batch_first = true}), 16));
  add("LSTM", sequence(nn::LSTM({.input_size = 4,
                                 .hidden_size = 2,
                                 .num_layers = 2,
                                 .batch_first = true,
                                 .dropout = 0.3,
                                 .bidirectional = true}),
                       32));
  add("GRU", sequence(nn::GRU({.input_size = 4, .hidden_size = 2, .batch_first = true}), 16));
  add("MultiheadAttention",
      sequence(nn::MultiheadAttention(
                   {.embed_dim = 4, .num_heads = 2, .dropout = 0.2, .batch_first = true, .is_causal = true}),
               32));
  add("TransformerEncoderLayer",
      sequence(
          nn::TransformerEncoderLayer(
              {.d_model = 4, .nhead = 2, .dim_feedforward = 5, .activation = "gelu", .batch_first = true}),
          32));
  add("GPT", Sequential(nn::Flatten(), Bright(),
                        nn::GPT({.vocab_size = 2, .block_size = 32, .n_layer = 1, .n_head = 2, .n_embd = 4}),
                        nn::Flatten(), nn::Linear({.in_features = 64, .out_features = 3})));
  add("VisionTransformer", around(nn::VisionTransformer({.image_size = 4,
                                                         .patch_size = 2,
                                                         .in_channels = 2,
                                                         .num_layers = 1,
                                                         .num_heads = 2,
                                                         .hidden_dim = 4,
                                                         .mlp_dim = 5,
                                                         .num_classes = 6}),
                                  6));
  add("Flatten", around(nn::Flatten(), 32));
  add("Reshape", around(nn::Reshape({.shape = {4, -1}}), 32));
  add("ReLU", around(nn::ReLU(), 32));
  add("LeakyReLU", around(nn::LeakyReLU({.negative_slope = 0.2}), 32));
  add("PReLU", around(nn::PReLU({.num_parameters = 2}), 32));
  add("ELU", around(nn::ELU({.alpha = 0.7}), 32));
  add("SELU", around(nn::SELU(), 32));
  add("Tanh", around(nn::Tanh(), 32));
  add("Sigmoid", around(nn::Sigmoid(), 32));
  add("GELU", around(nn::GELU(), 32));
  add("SiLU", around(nn::SiLU(), 32));
  add("Mish", around(nn::Mish(), 32));
  add("Softplus", around(nn::Softplus({.beta = 2}), 32));
  add("Hardswish", around(nn::Hardswish(), 32));
  add("Dropout", around(nn::Dropout({.p = 0.4}), 32));
  add("Softmax", around(nn::Softmax({.dim = 1}), 32));
  add("LogSoftmax", around(nn::LogSoftmax({.dim = 1}), 32));
  add("Identity", around(nn::Identity(), 32));
  add("Sequential", around(Sequential(nn::Tanh(), nn::Sigmoid()), 32));
  add("Residual",
      around(nn::Residual(Sequential(nn::Conv2d({.in_channels = 2, .out_channels = 3, .kernel_size = 1})),
                          Sequential(nn::Conv2d({.in_channels = 2, .out_channels = 3, .kernel_size = 1}))),
             48));
  add("Parallel",
      around(nn::Parallel(Sequential(nn::Identity(),
                                     nn::Conv2d({.in_channels = 2, .out_channels = 1, .kernel_size = 1}))),
             48));
  return cases;
}

Tensor input() { return tensor(formula_values<double>(11, 64), {2, 2, 4, 4}); }

TEST(Gradient, EveryLayerTypeHasACase) {
  std::vector<std::string> cases, types;
  for (const LayerCase& c : layer_cases()) cases.push_back(c.type);
  for (const auto& type : nn::layer_types()) types.push_back(type.name);
  EXPECT_EQ(cases, types);
}

TEST(Gradient, T2T40GradientsOfEveryParameterMatchCentralDifferencesForEveryLayerAndLoss) {
  std::vector<std::unique_ptr<nn::Loss>> losses;
  std::string names;  // in the order of the scalars
  for (const auto& type : nn::loss_types()) {
    const nlohmann::json spec = {{"type", type.name}};
    ConfigReader reader(spec, "loss");
    losses.push_back(nn::read_loss(reader));
    names += " " + type.name;
  }
  for (LayerCase& c : layer_cases()) {
    c.model.to(DType::f64);
    Tensor x = input(), labels = tensor<int64_t>({2, 0}, {2});
    std::vector<Tensor> inputs = c.model.parameters();
    inputs.push_back(x);
    RandomState random(5);
    // One pass through the layer for all losses.
    auto f = [&](const std::vector<Tensor>&) {
      UseRandom use(random);
      random.next_node = 0;  // every evaluation draws the same
      Tensor output = c.model(x);
      std::vector<Tensor> values;
      for (const auto& loss : losses) {
        Tensor given = loss->name() == "bce" ? sigmoid(output) : output;  // which takes probabilities
        values.push_back((*loss)(given, loss->target_of(labels, given)));
      }
      return stack(values);
    };
    double step = c.type == "GPT" ? 2e-5 : 2e-4;  // GPT-2's first weights are small, and so curve much
    EXPECT_TRUE(test::gradients_agree(f, inputs, {.step = step, .in_place = true}))
        << c.type << " under the losses" << names;
  }
}

TEST(Gradient, OfADecoderLayerMatchCentralDifferences) {
  for (bool norm_first : {false, true}) {
    nn::TransformerDecoderLayer layer({.d_model = 4,
                                       .nhead = 2,
                                       .dim_feedforward = 5,
                                       .dropout = 0.2,
                                       .activation = "gelu",
                                       .norm_first = norm_first});
    layer.initialize(3);
    layer.to(DType::f64);
    Tensor tgt = tensor(formula_values<double>(1, 24), {3, 2, 4}),
           memory = tensor(formula_values<double>(2, 40), {5, 2, 4});
    std::vector<Tensor> inputs = layer.parameters();
    inputs.push_back(tgt);
    inputs.push_back(memory);
    RandomState random(5);
    auto f = [&](const std::vector<Tensor>&) {
      UseRandom use(random);
      random.next_node = 0;  // every evaluation draws the same
      return test::weighted_sum({layer(tgt, memory, {.is_causal = true})});
    };
    EXPECT_TRUE(test::gradients_agree(f, inputs, {.in_place = true})) << "norm_first " << norm_first;
  }
}

TEST(Gradient, T5T39OneStepGivesEveryParameterAGradientAndChangesIt) {
  for (const nn::ZooEntry& entry : nn::zoo()) {
    if (!test::is_small(entry.name)) continue;
    nn::Model model = nn::find_model(entry.name);
    model.module->initialize(1);
    Shape batch{4};
    for (int64_t extent : model.input) batch.push_back(extent);
    Tensor x = tensor(formula_values<float>(1, batch.numel()), batch);
    Tensor labels = tensor(test::formula_labels(2, 4, model.classes), {4});
    auto named = model.module->named_parameters();
    std::vector<Tensor> parameters = model.module->parameters(), before;
    for (const Tensor& p : parameters) before.push_back(p.clone());
    optim::SGD sgd({.lr = 0.1});
    sgd.attach(parameters);
    std::vector<Tensor> grads = grad(nn::CrossEntropyLoss()((*model.module)(x), labels), parameters);
    sgd.step(grads);
    for (size_t i = 0; i < parameters.size(); ++i) {
      double gradient = 0, change = 0;
      for (size_t k = 0; k < static_cast<size_t>(parameters[i].numel()); ++k) {
        gradient += std::abs(static_cast<double>(grads[i].data<float>()[k]));
        change += std::abs(static_cast<double>(parameters[i].data<float>()[k] - before[i].data<float>()[k]));
      }
      EXPECT_TRUE(std::isfinite(gradient)) << entry.name << " " << named[i].first;
      EXPECT_GT(gradient, 0) << entry.name << " " << named[i].first;
      EXPECT_GT(change, 0) << entry.name << " " << named[i].first;
    }
  }
}

TEST(Gradient, T51EveryLayerTypeTrainsFiveStepsAndItsStateGoesThroughAFile) {
  // (In memory here; checkpoints have tests of their own.)
  for (LayerCase& c : layer_cases()) {
    Tensor x = tensor(formula_values<float>(11, 64), {2, 2, 4, 4}), labels = tensor<int64_t>({2, 0}, {2});
    optim::SGD sgd({.lr = 0.05, .momentum = 0.9});
    std::vector<Tensor> parameters = c.model.parameters();
    sgd.attach(parameters);
    std::vector<double> losses;
    for (int step = 0; step < 5; ++step) {
      Tensor loss = nn::CrossEntropyLoss()(c.model(x), labels);
      losses.push_back(loss.item<double>());
      sgd.step(grad(loss, parameters));
    }
    EXPECT_NE(losses.front(), losses.back()) << c.type;

    Sequential fresh;
    for (LayerCase& other : layer_cases())
      if (other.type == c.type) fresh = std::move(other.model);
    fresh.initialize(99);
    auto copy = [](const nn::NamedTensors& from, const nn::NamedTensors& to) {
      ASSERT_EQ(from.size(), to.size());
      for (size_t i = 0; i < from.size(); ++i) {
        EXPECT_EQ(from[i].first, to[i].first);
        to[i].second.assign(from[i].second);
      }
    };
    copy(c.model.named_parameters(), fresh.named_parameters());
    copy(c.model.named_buffers(), fresh.named_buffers());
    c.model.eval();
    fresh.eval();
    Tensor a = c.model(x), b = fresh(x);
    for (size_t i = 0; i < 6; ++i) EXPECT_EQ(a.data<float>()[i], b.data<float>()[i]) << c.type;
  }
}

}  // namespace
}  // namespace wholestep
