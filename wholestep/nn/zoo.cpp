// The descriptions. w1 to w4s are the networks of the speed comparisons; w2 is LeNet-5 and w3 the MLP.
#include "wholestep/nn/zoo.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wholestep/base/suggest.h"
#include "wholestep/io/json.h"

namespace wholestep::nn {
namespace {

constexpr std::string_view kMlp = R"({"name": "mlp", "input": [1, 28, 28], "classes": 10, "layers": [
  {"type": "Flatten"},
  {"type": "Linear", "in_features": 784, "out_features": 256}, {"type": "ReLU"},
  {"type": "Linear", "in_features": 256, "out_features": 128}, {"type": "ReLU"},
  {"type": "Linear", "in_features": 128, "out_features": 10}]})";

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

}  // namespace

const std::vector<ZooEntry>& zoo() {
  static const std::vector<ZooEntry> entries = {
      {"mlp", "784-256-128-10 with ReLU, for 28x28 digits", kMlp},
      {"lenet", "LeNet-5 (LeCun et al. 1998) with ReLU and max pooling", kLenet},
      {"simple-cnn", "two convolutions with batch norm, for 28x28 digits", kSimpleCnn},
      {"w1", "speed comparison: tiny CNN on 3x32x32", kW1},
      {"w2", "speed comparison: LeNet-5", kLenet},
      {"w3", "speed comparison: the MLP on rows of 784", kW3},
      {"w4", "speed comparison: wide CNN on 3x64x64, 33.6 M parameters", kW4},
      {"w4s", "speed comparison: strided CNN on 3x64x64", kW4s},
  };
  return entries;
}

Model find_model(const std::string& name_or_path) {
  std::vector<std::string> names;
  for (const ZooEntry& entry : zoo()) {
    if (entry.name == name_or_path) {
      Model model = read_model(parse_json(entry.spec, entry.name), "zoo " + entry.name);
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
