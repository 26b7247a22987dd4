// The descriptions: small networks as text, families by the rule they are built by. w1 to w4s are the
// networks of the speed comparisons; w2 is LeNet-5 and w3 the MLP.
#include "wholestep/nn/zoo.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "wholestep/base/suggest.h"
#include "wholestep/io/json.h"

namespace wholestep::nn {
namespace {

constexpr std::string_view kLenet = R"({"name": "lenet", "input": [1, 28, 28], "classes": 10, "layers": [
  {"type": "Conv2d", "in_channels": 1, "out_channels": 6, "kernel_size": 5, "padding": 2}, {"type": "ReLU"},
  {"type": "MaxPool2d", "kernel_size": 2},
  {"type": "Conv2d", "in_channels": 6, "out_channels": 16, "kernel_size": 5}, {"type": "ReLU"},
  {"type": "MaxPool2d", "kernel_size": 2},
  {"type": "Flatten"},
  {"type": "Linear", "in_features": 400, "out_features": 120}, {"type": "ReLU"},
  {"type": "Linear", "in_features": 120, "out_features": 84}, {"type": "ReLU"},
  {"type": "Linear", "in_features": 84, "out_features": 10}]})";

constexpr std::string_view kSimpleCnn =
    R"({"name": "simple-cnn", "input": [1, 28, 28], "classes": 10, "layers": [
  {"type": "Conv2d", "in_channels": 1, "out_channels": 8, "kernel_size": 3, "padding": 1, "bias": false},
  {"type": "BatchNorm2d", "num_features": 8}, {"type": "ReLU"},
  {"type": "MaxPool2d", "kernel_size": 2},
  {"type": "Conv2d", "in_channels": 8, "out_channels": 16, "kernel_size": 3, "padding": 1, "bias": false},
  {"type": "BatchNorm2d", "num_features": 16}, {"type": "ReLU"},
  {"type": "AvgPool2d", "kernel_size": 2},
  {"type": "Flatten"},
  {"type": "Linear", "in_features": 784, "out_features": 64}, {"type": "ReLU"},
  {"type": "Dropout", "p": 0.25},
  {"type": "Linear", "in_features": 64, "out_features": 10}]})";

constexpr std::string_view kW1 = R"({"name": "w1", "input": [3, 32, 32], "classes": 2, "layers": [
  {"type": "Conv2d", "in_channels": 3, "out_channels": 8, "kernel_size": 3, "padding": 1}, {"type": "ReLU"},
  {"type": "AdaptiveAvgPool2d", "output_size": 1},
  {"type": "Flatten"},
  {"type": "Linear", "in_features": 8, "out_features": 2}]})";

constexpr std::string_view kW3 = R"({"name": "w3", "input": [784], "classes": 10, "layers": [
  {"type": "Linear", "in_features": 784, "out_features": 256}, {"type": "ReLU"},
  {"type": "Linear", "in_features": 256, "out_features": 128}, {"type": "ReLU"},
  {"type": "Linear", "in_features": 128, "out_features": 10}]})";

constexpr std::string_view kW4 = R"({"name": "w4", "input": [3, 64, 64], "classes": 2, "layers": [
  {"type": "Conv2d", "in_channels": 3, "out_channels": 16, "kernel_size": 3, "padding": 1}, {"type": "ReLU"},
  {"type": "Conv2d", "in_channels": 16, "out_channels": 32, "kernel_size": 3, "padding": 1}, {"type": "ReLU"},
  {"type": "Conv2d", "in_channels": 32, "out_channels": 64, "kernel_size": 3, "padding": 1}, {"type": "ReLU"},
  {"type": "Flatten"},
  {"type": "Linear", "in_features": 262144, "out_features": 128}, {"type": "ReLU"},
  {"type": "Linear", "in_features": 128, "out_features": 2}]})";

constexpr std::string_view kW4s = R"({"name": "w4s", "input": [3, 64, 64], "classes": 2, "layers": [
  {"type": "Conv2d", "in_channels": 3, "out_channels": 8, "kernel_size": 3, "stride": 2, "padding": 1},
  {"type": "ReLU"},
  {"type": "Conv2d", "in_channels": 8, "out_channels": 16, "kernel_size": 3, "stride": 2, "padding": 1},
  {"type": "ReLU"},
  {"type": "Conv2d", "in_channels": 16, "out_channels": 32, "kernel_size": 3, "stride": 2, "padding": 1},
  {"type": "ReLU"},
  {"type": "Flatten"},
  {"type": "Linear", "in_features": 2048, "out_features": 64}, {"type": "ReLU"},
  {"type": "Linear", "in_features": 64, "out_features": 2}]})";

using nlohmann::json;

template <const std::string_view& kSpec>
json text() {
  return parse_json(kSpec, "zoo");
}

json model(std::vector<int64_t> input, int64_t classes, json layers) {
  return {{"input", std::move(input)}, {"classes", classes}, {"layers", std::move(layers)}};
}
json language_model(int64_t length, int64_t vocabulary, json layers) {
  json spec = model({length}, vocabulary, std::move(layers));
  spec["tokens"] = true;
  return spec;
}

json layer(const char* type) { return {{"type", type}}; }
json linear(int64_t in, int64_t out) {
  return {{"type", "Linear"}, {"in_features", in}, {"out_features", out}};
}
json average(int64_t size) { return {{"type", "AdaptiveAvgPool2d"}, {"output_size", size}}; }

json mlp_layers(int64_t in, int64_t out) {
  return json::array({linear(in, 256), layer("ReLU"), linear(256, 128), layer("ReLU"), linear(128, out)});
}
json mlp() {
  json layers = mlp_layers(784, 10);
  layers.insert(layers.begin(), layer("Flatten"));
  return model({1, 28, 28}, 10, std::move(layers));
}
json mlp_for_table(const TableSizes& table) {
  json spec = model({table.features}, table.classes,
                    mlp_layers(table.features, table.targets > 0 ? table.targets : table.classes));
  if (table.targets == 0) return spec;
  spec.erase("classes");
  spec["targets"] = table.targets;
  return spec;
}

/// A square convolution that keeps rows and columns but for the stride, and its batch norm.
void add_convolution(json& layers, int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  json& conv = layers.emplace_back(layer("Conv2d"));
  conv["in_channels"] = in;
  conv["out_channels"] = out;
  conv["kernel_size"] = kernel;
  conv["bias"] = false;
  if (stride > 1) conv["stride"] = stride;
  if (kernel > 1) conv["padding"] = kernel / 2;
  layers.push_back({{"type", "BatchNorm2d"}, {"num_features", out}});
}

/// He et al. 2016 behind a stem that ends in 64 channels: stages of blocks at 64, 128, 256 and 512 channels,
/// each but the first at half the size before; blocks of two convolutions, or of three where `bottleneck`,
/// the last four times as wide.
void add_resnet_stages(json& layers, const std::vector<int>& blocks, bool bottleneck, int64_t classes) {
  int64_t in = 64;
  for (size_t stage = 0; stage < blocks.size(); ++stage)
    for (int block = 0; block < blocks[stage]; ++block) {
      int64_t width = int64_t{64} << stage, out = bottleneck ? 4 * width : width,
              stride = stage > 0 && block == 0 ? 2 : 1;
      json body = json::array(), shortcut = json::array();
      if (bottleneck) {
        add_convolution(body, in, width, 1, 1);
        body.push_back(layer("ReLU"));
        add_convolution(body, width, width, 3, stride);
      } else {
        add_convolution(body, in, width, 3, stride);
      }
      body.push_back(layer("ReLU"));
      add_convolution(body, width, out, bottleneck ? 1 : 3, 1);
      if (stride > 1 || in != out) add_convolution(shortcut, in, out, 1, stride);
      json& residual = layers.emplace_back(layer("Residual"));
      residual["layers"] = std::move(body);
      if (!shortcut.empty()) residual["shortcut"] = std::move(shortcut);
      layers.push_back(layer("ReLU"));
      in = out;
    }
  for (const json& last : {average(1), layer("Flatten"), linear(in, classes)}) layers.push_back(last);
}

json resnet(const std::vector<int>& blocks, bool bottleneck) {
  json layers = json::array();
  add_convolution(layers, 3, 64, 7, 2);
  layers.push_back(layer("ReLU"));
  layers.push_back({{"type", "MaxPool2d"}, {"kernel_size", 3}, {"stride", 2}, {"padding", 1}});
  add_resnet_stages(layers, blocks, bottleneck, 1000);
  return model({3, 224, 224}, 1000, std::move(layers));
}
json resnet18() { return resnet({2, 2, 2, 2}, false); }
json resnet34() { return resnet({3, 4, 6, 3}, false); }
json resnet50() { return resnet({3, 4, 6, 3}, true); }
json resnet18_cifar() {
  json layers = json::array();
  add_convolution(layers, 3, 64, 3, 1);
  layers.push_back(layer("ReLU"));
  add_resnet_stages(layers, {2, 2, 2, 2}, false, 10);
  return model({3, 32, 32}, 10, std::move(layers));
}

/// Simonyan & Zisserman 2015: so many convolutions at 64, 128, 256, 512 and 512 channels, each stage halved
/// by pooling.
json vgg(const std::vector<int>& convolutions) {
  json layers = json::array();
  int64_t in = 3;
  for (size_t stage = 0; stage < convolutions.size(); ++stage) {
    int64_t out = std::min<int64_t>(int64_t{64} << stage, 512);
    for (int i = 0; i < convolutions[stage]; ++i, in = out) {
      layers.push_back({{"type", "Conv2d"},
                        {"in_channels", in},
                        {"out_channels", out},
                        {"kernel_size", 3},
                        {"padding", 1}});
      layers.push_back(layer("ReLU"));
    }
    layers.push_back({{"type", "MaxPool2d"}, {"kernel_size", 2}});
  }
  for (const json& last : {average(7), layer("Flatten"), linear(25088, 4096), layer("ReLU"), layer("Dropout"),
                           linear(4096, 4096), layer("ReLU"), layer("Dropout"), linear(4096, 1000)})
    layers.push_back(last);
  return model({3, 224, 224}, 1000, std::move(layers));
}
json vgg11() { return vgg({1, 1, 2, 2, 2}); }
json vgg16() { return vgg({2, 2, 3, 3, 3}); }

json vit_b_16() { return model({3, 224, 224}, 1000, json::array({layer("VisionTransformer")})); }

json gpt2() { return language_model(1024, 50257, json::array({layer("GPT")})); }
json gpt_char() {
  return language_model(64, 65,
                        json::array({{{"type", "GPT"},
                                      {"vocab_size", 65},
                                      {"block_size", 64},
                                      {"n_layer", 4},
                                      {"n_head", 4},
                                      {"n_embd", 128},
                                      {"dropout", 0.0}}}));
}
json lstm_lm() {
  return language_model(
      35, 10000,
      json::array({{{"type", "Embedding"}, {"num_embeddings", 10000}, {"embedding_dim", 650}},
                   {{"type", "Dropout"}},
                   {{"type", "LSTM"},
                    {"input_size", 650},
                    {"hidden_size", 650},
                    {"num_layers", 2},
                    {"batch_first", true},
                    {"dropout", 0.5}},
                   {{"type", "Dropout"}},
                   linear(650, 10000)}));
}

}  // namespace

const std::vector<ZooEntry>& zoo() {
  static const std::vector<ZooEntry> entries = {
      {"mlp", "784-256-128-10 with ReLU, for 28x28 digits; of a table as wide as its rows", mlp,
       mlp_for_table},
      {"lenet", "LeNet-5 (LeCun et al. 1998) with ReLU and max pooling", text<kLenet>},
      {"simple-cnn", "two convolutions with batch norm, for 28x28 digits", text<kSimpleCnn>},
      {"resnet18", "ResNet-18 (He et al. 2016), for 224x224 pictures of 1000 classes", resnet18},
      {"resnet34", "ResNet-34", resnet34},
      {"resnet50", "ResNet-50, of bottleneck blocks", resnet50},
      {"resnet18-cifar", "ResNet-18 for 32x32 pictures of 10 classes", resnet18_cifar},
      {"vgg11", "VGG-11 (Simonyan & Zisserman 2015)", vgg11},
      {"vgg16", "VGG-16", vgg16},
      {"vit-b-16", "vision transformer (Dosovitskiy et al. 2021), base, patches of 16x16", vit_b_16},
      {"gpt2", "GPT-2 (Radford et al. 2019), 124 M parameters", gpt2},
      {"gpt-char", "a small GPT over 65 characters", gpt_char},
      {"lstm-lm", "language model of two LSTM layers (Zaremba et al. 2014, medium)", lstm_lm},
      {"w1", "speed comparison: tiny CNN on 3x32x32", text<kW1>},
      {"w2", "speed comparison: LeNet-5", text<kLenet>},
      {"w3", "speed comparison: the MLP on rows of 784", text<kW3>},
      {"w4", "speed comparison: wide CNN on 3x64x64, 33.6 M parameters", text<kW4>},
      {"w4s", "speed comparison: strided CNN on 3x64x64", text<kW4s>},
  };
  return entries;
}

bool fits_tables(const std::string& name) {
  auto entry = std::ranges::find(zoo(), name, &ZooEntry::name);
  return entry != zoo().end() && entry->for_table;
}

Model find_model(const std::string& name_or_path, const TableSizes* table) {
  std::vector<std::string> names;
  for (const ZooEntry& entry : zoo()) {
    if (entry.name == name_or_path) {
      json spec = table && entry.for_table ? entry.for_table(*table) : entry.spec();
      Model model = read_model(spec, "zoo " + entry.name);
      model.name = entry.name;
      return model;
    }
    names.push_back(entry.name);
  }
  if (name_or_path.ends_with(".json") || std::filesystem::exists(name_or_path))
    return load_model(name_or_path);
  throw Error(ErrorCode::kBadConfig,
              {.what = fmt::format("no model is called '{}'", name_or_path),
               .hint = suggest(name_or_path, names) + "; or give the path of a model.json"});
}

}  // namespace wholestep::nn
