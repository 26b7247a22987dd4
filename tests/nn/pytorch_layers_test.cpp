// Values, gradients, parameter names and initial values of the layers against PyTorch's, computed by
// tests/reference/layers.py, in f64 and f32, op by op and as one compiled step.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "support/compiled.h"
#include "support/formula.h"
#include "support/gradient_check.h"
#include "support/op_case.h"
#include "support/test_device.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/tensor_text.h"
#include "wholestep/io/json.h"
#include "wholestep/nn/attention.h"
#include "wholestep/nn/bilinear.h"
#include "wholestep/nn/conv1d.h"
#include "wholestep/nn/conv2d.h"
#include "wholestep/nn/embedding.h"
#include "wholestep/nn/model_spec.h"
#include "wholestep/nn/recurrent.h"
#include "wholestep/nn/transformer.h"
#include "wholestep/ops/arrange.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::test {
namespace {

using Json = nlohmann::json;
using Tensors = std::vector<Tensor>;
using Function = std::function<Tensors(const Tensors&)>;

/// Of options beside the defaults, by tests/reference/options.py.
const Json& options() {
  static const Json all = read_reference("options.json");
  return all;
}

const Json& reference() {
  static const Json all = [] {
    Json layers = read_reference("layers.json");
    for (const char* kind : {"one_operand", "initial"})
      for (const Json& c : options()[kind]) layers[kind].push_back(c);
    return layers;
  }();
  return all;
}

Shape shape_of(const Json& extents) { return Shape(extents.get<std::vector<int64_t>>()); }

Tensor operand(const Shape& shape, uint32_t k, DType dtype, double scale = 1) {
  std::vector<double> values = formula_values<double>(k, shape.numel());
  for (double& v : values) v *= scale;
  return on_test_device(converted(tensor(values, shape), dtype));
}

std::unique_ptr<nn::Module> make_layer(const Json& spec) {
  ConfigReader reader(spec, "reference");
  std::unique_ptr<nn::Module> layer = read_typed(reader, nn::layer_types());
  reader.finish();
  return layer;
}

/// Sets the parameters as the reference does, and expects its names and shapes in its order.
void set_parameters(nn::Module& module, const Json& expected, DType dtype, const std::string& text) {
  module.to(dtype);
  module.to(test_device());
  nn::NamedTensors parameters = module.named_parameters();
  ASSERT_EQ(parameters.size(), expected.size()) << text;
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_EQ(parameters[i].first, expected[i]["name"]) << text;
    ASSERT_EQ(parameters[i].second.shape(), shape_of(expected[i]["shape"]))
        << text << " " << parameters[i].first;
    parameters[i].second.write(
        operand(parameters[i].second.shape(), 20 + static_cast<uint32_t>(i), dtype, 0.5).to_host().bytes());
  }
  for (uint32_t j = 60; auto& [name, buffer] : module.named_buffers()) {
    Tensor value = operand(buffer.shape(), j++, dtype, 0.25) + 1.0;
    buffer.write((is_floating(buffer.dtype()) ? value.to_host() : zeros(buffer.type())).bytes());
  }
}

void expect_near(const Tensor& got, const Json& expected, const std::string& what) {
  auto values = expected.get<std::vector<double>>();
  ASSERT_EQ(static_cast<size_t>(got.numel()), values.size()) << what;
  double largest = 1e-6;
  for (double v : values) largest = std::max(largest, std::abs(v));
  double tolerance = (got.dtype() == DType::f64 ? 2e-10 : 1e-5) * largest;
  std::vector<double> numbers = as_doubles(got);
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_NEAR(numbers[i], values[i], tolerance) << what << ", element " << i;
}

/// Eagerly against the reference, and compiled with the same bits.
void compare(const Json& c, nn::Module& module, const Function& f, const Tensors& inputs,
             const std::string& text) {
  Tensors parameters = module.parameters();
  for (const Tensor& x : inputs)
    if (is_floating(x.dtype())) Tensor(x).set_requires_grad();
  Tensors eager = with_gradients(f, inputs, parameters);
  size_t at = 0;
  for (const Json& y : c["outputs"]) {
    EXPECT_EQ(eager[at].shape(), shape_of(y["shape"])) << text;
    expect_near(eager[at], y["values"], fmt::format("{}, result {}", text, at));
    ++at;
  }
  for (const Json& g : c["input_gradients"]) expect_near(eager[at++], g, text + ", gradient of an input");
  for (const Json& p : c["parameters"])
    expect_near(eager[at++], p["gradient"], text + ", gradient of " + p["name"].get<std::string>());
  ASSERT_EQ(at, eager.size()) << text;

  expect_compiled_gives([&](const Tensors& x) { return with_gradients(f, x, parameters); }, inputs, eager,
                        text);
}

class PyTorchLayer : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override { WHOLESTEP_NEEDS_TEST_DEVICE(); }
};
INSTANTIATE_TEST_SUITE_P(Dtypes, PyTorchLayer, testing::Values(DType::f32, DType::f64),
                         [](const auto& dtype) { return std::string(name(dtype.param)); });

TEST_P(PyTorchLayer, AgreesOnLayersOfOneOperand) {
  for (const Json& c : of_part(reference()["one_operand"])) {
    std::string text = c["spec"].dump();
    auto layer = make_layer(c["spec"]);
    ASSERT_TRUE(layer) << text;
    Json written = Json::object();
    layer->write_spec(written);
    EXPECT_EQ(written, c["spec"]);
    set_parameters(*layer, c["parameters"], GetParam(), text);
    Shape x = shape_of(c["x"]);
    int64_t indices = c["indices"];
    Tensor input = indices ? on_test_device(tensor(formula_labels(1, x.numel(), indices), x))
                           : operand(x, 1, GetParam());
    if (c.contains("evaluation")) layer->eval();
    if (c.contains("buffers")) {
      (*layer)(input);
      nn::NamedTensors buffers = layer->named_buffers();
      ASSERT_EQ(buffers.size(), c["buffers"].size()) << text;
      for (size_t i = 0; i < buffers.size(); ++i) {
        EXPECT_EQ(buffers[i].first, c["buffers"][i]["name"]) << text;
        expect_near(buffers[i].second, c["buffers"][i]["values"], text + ", buffer " + buffers[i].first);
      }
    }
    compare(
        c, *layer, [&](const Tensors& in) { return Tensors{(*layer)(in[0])}; }, {input}, text);
    if (HasFatalFailure()) return;
  }
}

TEST(PyTorchLayers, EveryTypeHasACase) {
  std::set<std::string> compared;
  for (const Json& c : reference()["one_operand"]) compared.insert(c["spec"]["type"]);
  for (const Json& c : reference()["several_operands"]) compared.insert(c["kind"]);
  for (const auto& type : nn::layer_types())
    EXPECT_TRUE(compared.contains(type.name)) << type.name << " has no case in tests/reference/layers.py";
}

/// The several-operand cases of one kind, each with its layer's parameters set.
template <class Module, class Call>
void compare_several(const std::string& kind, DType dtype,
                     const std::function<std::unique_ptr<Module>(const Json&)>& make, Call&& call) {
  int found = 0;
  for (const Json& c : reference()["several_operands"]) {
    if (c["kind"] != kind) continue;
    ++found;
    std::unique_ptr<Module> module = make(c);
    set_parameters(*module, c["parameters"], dtype, kind);
    Tensors inputs;
    for (const Json& shape : c["inputs"])
      inputs.push_back(operand(shape_of(shape), 1 + static_cast<uint32_t>(inputs.size()), dtype));
    compare(
        c, *module, [&](const Tensors& in) { return call(c, *module, in); }, inputs, kind);
  }
  EXPECT_GT(found, 0) << kind;
}

TEST_P(PyTorchLayer, AgreesOnBilinearOfTwoOperands) {
  compare_several<nn::Bilinear>(
      "Bilinear", GetParam(),
      [](const Json&) {
        return std::make_unique<nn::Bilinear>(
            nn::BilinearConfig{.in1_features = 3, .in2_features = 4, .out_features = 5});
      },
      [](const Json&, nn::Bilinear& m, const Tensors& in) { return Tensors{m(in[0], in[1])}; });
}

TEST_P(PyTorchLayer, AgreesOnAttentionOfThreeOperandsUnderMasks) {
  DType dtype = GetParam();
  compare_several<nn::MultiheadAttention>(
      "MultiheadAttention", dtype,
      [](const Json& c) {
        return std::make_unique<nn::MultiheadAttention>(
            nn::MultiheadAttentionConfig{.embed_dim = 6, .num_heads = c["masks"] == "bool" ? 3 : 2});
      },
      [&](const Json& c, nn::MultiheadAttention& m, const Tensors& in) {
        nn::AttentionMask mask;
        if (c["masks"] == "bool") {
          std::vector<int64_t> drawn = formula_labels(8, 15, 2);
          for (size_t row = 0; row < 3; ++row) drawn[row * 5] = 0;
          mask.attn_mask = converted(tensor(drawn, {3, 5}), DType::boolean);
        } else {
          mask.attn_mask = operand({3, 5}, 7, dtype);
          mask.key_padding_mask =
              converted(tensor<int64_t>({0, 0, 1, 0, 1, 0, 0, 0, 0, 0}, {2, 5}), DType::boolean);
        }
        return Tensors{m(in[0], in[1], in[2], mask)};
      });
}

TEST_P(PyTorchLayer, AgreesOnDecoderLayers) {
  compare_several<nn::TransformerDecoderLayer>(
      "TransformerDecoderLayer", GetParam(),
      [](const Json& c) {
        bool first = c["norm_first"];
        return std::make_unique<nn::TransformerDecoderLayer>(
            nn::TransformerEncoderLayerConfig{.d_model = 4,
                                              .nhead = 2,
                                              .dim_feedforward = 6,
                                              .dropout = 0,
                                              .activation = first ? "gelu" : "relu",
                                              .norm_first = first});
      },
      [](const Json& c, nn::TransformerDecoderLayer& m, const Tensors& in) {
        return Tensors{m(in[0], in[1], {.is_causal = c["norm_first"].get<bool>()})};
      });
}

TEST_P(PyTorchLayer, AgreesOnRecurrentLayersWithStates) {
  auto results = [](const nn::RecurrentResult& r) {
    Tensors list = {r.output, r.state.h};
    if (r.state.c.defined()) list.push_back(r.state.c);
    return list;
  };
  compare_several<nn::LSTM>(
      "LSTM", GetParam(),
      [](const Json&) {
        return std::make_unique<nn::LSTM>(
            nn::LSTMConfig{.input_size = 3, .hidden_size = 4, .num_layers = 2, .bidirectional = true});
      },
      [&](const Json&, nn::LSTM& m, const Tensors& in) {
        return results(m(in[0], {in[1], in[2]}));
      });
  compare_several<nn::GRU>(
      "GRU", GetParam(),
      [](const Json&) {
        return std::make_unique<nn::GRU>(nn::GRUConfig{.input_size = 3, .hidden_size = 4, .num_layers = 2});
      },
      [&](const Json&, nn::GRU& m, const Tensors& in) {
        return results(m(in[0], {in[1], {}}));
      });
  compare_several<nn::RNN>(
      "RNN", GetParam(),
      [](const Json&) { return std::make_unique<nn::RNN>(nn::RNNConfig{.input_size = 3, .hidden_size = 4}); },
      [&](const Json&, nn::RNN& m, const Tensors& in) {
        return results(m(in[0], {in[1], {}}));
      });
}

TEST_P(PyTorchLayer, AgreesOnOptionsOfLayersOfSeveralOperands) {
  auto results = [](const nn::RecurrentResult& r) {
    Tensors list = {r.output, r.state.h};
    if (r.state.c.defined()) list.push_back(r.state.c);
    return list;
  };
  std::vector<int64_t> drawn = formula_labels(8, 15, 2);
  for (size_t row = 0; row < 3; ++row) drawn[row * 5] = 0;
  const Tensor masked = converted(tensor(drawn, {3, 5}), DType::boolean);
  const Tensor padding = converted(tensor<int64_t>({0, 0, 1, 0, 1, 0, 0, 0, 0, 0}, {2, 5}), DType::boolean);
  for (const Json& c : of_part(options()["several_operands"])) {
    std::string text = c["spec"].dump();
    auto layer = make_layer(c["spec"]);
    ASSERT_TRUE(layer) << text;
    set_parameters(*layer, c["parameters"], GetParam(), text);
    Tensors inputs;
    for (const Json& shape : c["inputs"])
      inputs.push_back(operand(shape_of(shape), 1 + static_cast<uint32_t>(inputs.size()), GetParam()));
    Function call;
    if (auto* attention = dynamic_cast<nn::MultiheadAttention*>(layer.get())) {
      const std::string masks = c["mask"];
      nn::AttentionMask mask{.is_causal = masks == "causal"};
      if (masks.starts_with("attn")) mask.attn_mask = masked;
      if (masks.ends_with("padding")) mask.key_padding_mask = padding;
      call = [=, average = c["average"].get<bool>()](const Tensors& in) {
        nn::AttentionResult r = attention->with_weights(in[0], in[1], in[2], mask, average);
        return Tensors{r.output, r.weights};
      };
    } else if (auto* lstm = dynamic_cast<nn::LSTM*>(layer.get())) {
      call = [=](const Tensors& in) { return results((*lstm)(in[0], {in[1], in[2]})); };
    } else if (auto* gru = dynamic_cast<nn::GRU*>(layer.get())) {
      call = [=](const Tensors& in) { return results((*gru)(in[0], {in[1], {}})); };
    } else if (auto* rnn = dynamic_cast<nn::RNN*>(layer.get())) {
      call = [=](const Tensors& in) { return results((*rnn)(in[0], {in[1], {}})); };
    }
    ASSERT_TRUE(call) << text;
    compare(c, *layer, call, inputs, text);
    if (HasFatalFailure()) return;
  }
}

TEST_P(PyTorchLayer, EmbeddingShortensTheRowsItLooksUp) {
  int found = 0;
  for (const Json& c : reference()["one_operand"]) {
    if (!c.contains("weight_after")) continue;
    ++found;
    auto layer = make_layer(c["spec"]);
    set_parameters(*layer, c["parameters"], GetParam(), "Embedding");
    Tensor weight = layer->parameters()[0], before = weight.clone();
    Shape x = shape_of(c["x"]);
    (*layer)(tensor(formula_labels(1, x.numel(), c["indices"].get<int64_t>()), x));
    expect_near(weight, c["weight_after"], "weight");
    EXPECT_FALSE(array_equal(weight.to_host(), before)) << c["spec"];
  }
  EXPECT_EQ(found, 3);
}

TEST(PyTorchOptions, AnEmbeddingThatShortensRowsTrainsAlikeEagerlyAndCompiled) {
  struct Run {
    nn::Embedding layer{{.num_embeddings = 6, .embedding_dim = 3, .max_norm = 0.5}};
    optim::SGD sgd{{.lr = 0.2, .momentum = 0.9}};
    Tensor index = tensor<int64_t>({0, 2, 2, 5}, {4});
    Run() {
      layer.initialize(1);
      sgd.attach(layer.parameters());
    }
    void step() {
      Tensor loss = sum(square(layer(index) - 1.0));
      std::vector<Tensor> grads = grad(loss, layer.parameters());
      sgd.step(grads);
    }
  };
  Run eager, compiled;
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    compiled.step();
  }
  CompiledStep step(make_plan(graph));
  Tensor first = eager.layer.weight().clone();
  for (int i = 0; i < 5; ++i) {
    eager.step();
    step.run();
    EXPECT_TRUE(array_equal(eager.layer.weight(), compiled.layer.weight())) << "step " << i;
  }
  for (int64_t row : {1, 3, 4})
    for (int64_t k = 0; k < 3; ++k)
      EXPECT_EQ(eager.layer.weight().at<float>({row, k}), first.at<float>({row, k}));
}

TEST(PyTorchOptions, SlicesWithAStepAreThoseOfPython) {
  for (const Json& c : options()["slices"]) {
    Tensor x = operand(shape_of(c["x"]), 1, DType::f64).set_requires_grad();
    Tensor y = slice(x, c["axis"].get<int64_t>(), c["start"].get<int64_t>(), c["stop"].get<int64_t>(),
                     c["step"].get<int64_t>());
    EXPECT_EQ(y.shape(), shape_of(c["shape"])) << c;
    EXPECT_EQ(as_doubles(y), c["values"].get<std::vector<double>>()) << c;
    sum(y * operand(y.shape(), 9, DType::f64)).backward();
    EXPECT_EQ(as_doubles(x.grad()), c["gradient"].get<std::vector<double>>()) << c;
  }
}

/// Options that layers take, and what is wrong with them.
TEST(PyTorchOptions, MisuseIsAnsweredWordForWord) {
  auto message_of = [](auto&& action) -> std::string {
    try {
      action();
    } catch (const Error& error) {
      std::string message = error.what();
      size_t place = message.find("pytorch_layers_test.cpp:");
      if (place == std::string::npos) return message;
      message.erase(place, message.find_first_of(":)", place + 24) - place);
      return message.erase(place, message.compare(place, 2, ": ") == 0 ? 2 : 0);
    }
    return "no error";
  };
  EXPECT_EQ(message_of([] {
              slice(zeros({DType::f32, {4}}), 0, 0, 4, -1);
            }),
            "a slice goes forward by at least one element: got step -1. Hint: flip() turns an axis around");
  EXPECT_EQ(message_of([] {
              slice(zeros({DType::f32, {4}}), 0, 0, 4, 0);
            }),
            "a slice goes forward by at least one element: got step 0");
  EXPECT_EQ(
      message_of([] {
        nn::Conv2d({.in_channels = 1, .out_channels = 1, .kernel_size = 3, .stride = 2, .padding = "same"});
      }),
      "Conv2d: 'stride' got 2, expected 1 where 'padding' is \"same\"");
  EXPECT_EQ(message_of([] {
              nn::Conv1d({.in_channels = 1, .out_channels = 1, .kernel_size = 3, .padding = "smae"});
            }),
            "Conv1d: 'padding' got -1, expected at least 0");
  EXPECT_EQ(message_of([] {
              nn::Conv1d({.in_channels = 1, .out_channels = 1, .kernel_size = 3, .padding_mode = "mirror"});
            }),
            "Conv1d: 'padding_mode' got 'mirror', known: zeros, reflect, replicate, circular");
  EXPECT_EQ(
      message_of([] {
        nn::Conv1d(
            {.in_channels = 1, .out_channels = 1, .kernel_size = 3, .padding = 4, .padding_mode = "reflect"})(
            zeros({DType::f32, {2, 1, 4}}));
      }),
      "the padding \"reflect\" is longer than there are elements (): got 4 and 4 along axis 3 of f32[2, 1, "
      "1, "
      "4], expected at most 3");
  EXPECT_EQ(message_of([] { nn::LSTM({.input_size = 2, .hidden_size = 3, .proj_size = 3}); }),
            "LSTM: 'proj_size' got 3, expected less than 'hidden_size' (3)");
}

TEST(LayerInit, T6ParametersAreDrawnAsPyTorchDrawsThem) {
  for (const Json& c : reference()["initial"]) {
    std::vector<std::vector<double>> drawn(c["parameters"].size());
    for (uint64_t seed = 0; seed < 20; ++seed) {
      auto layer = make_layer(c["spec"]);
      layer->initialize(seed);
      nn::NamedTensors parameters = layer->named_parameters();
      ASSERT_EQ(parameters.size(), drawn.size()) << c["spec"];
      for (size_t i = 0; i < drawn.size(); ++i) {
        EXPECT_EQ(parameters[i].first, c["parameters"][i]["name"]);
        std::vector<double> values = as_doubles(parameters[i].second);
        drawn[i].insert(drawn[i].end(), values.begin(), values.end());
      }
    }
    for (size_t i = 0; i < drawn.size(); ++i) {
      const Json& expected = c["parameters"][i];
      double n = static_cast<double>(drawn[i].size()), mean = 0, square = 0, largest = 0;
      for (double v : drawn[i]) mean += v / n, square += v * v / n, largest = std::max(largest, std::abs(v));
      double std = std::sqrt(std::max(0.0, square - mean * mean)), expected_std = expected["std"];
      // Deviations of n draws are off by less than 0.71 / sqrt(n) of themselves, one sigma, on both sides.
      EXPECT_NEAR(std, expected_std, 5 * expected_std / std::sqrt(n) + 1e-6)
          << c["spec"] << " " << expected["name"];
      EXPECT_NEAR(mean, expected["mean"].get<double>(), 5 * expected_std * std::sqrt(2 / n) + 1e-12)
          << c["spec"] << " " << expected["name"];
      bool normal = expected["name"] == "bias_k" || expected["name"] == "bias_v";
      bool bounded = c["spec"]["type"] != "Embedding" && !normal;
      if (bounded) {
        EXPECT_NEAR(largest, expected["largest"].get<double>(), 0.02 * largest)
            << c["spec"] << " " << expected["name"];
      }
    }
  }
}

}  // namespace
}  // namespace wholestep::test
