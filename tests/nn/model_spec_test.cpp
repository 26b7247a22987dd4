// Models as JSON: round trips, the zoo, summaries, and every way a description can be wrong.
#include "wholestep/nn/model_spec.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "wholestep/io/files.h"
#include "wholestep/io/json.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/nn/summary.h"
#include "wholestep/nn/zoo.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::expect_error;

nn::Model read(const std::string& layers, const std::string& head = R"("input": [4], "classes": 3)") {
  return nn::read_model(json::parse("{" + head + ", \"layers\": " + layers + "}"), "m.json");
}

TEST(ModelSpec, EveryZooModelSurvivesTheRoundTripThroughAFile) {
  test::TempDir dir;
  for (const nn::ZooEntry& entry : nn::zoo()) {
    // A hundred million parameters, of layers that others have too.
    if (std::set<std::string>{"vgg11", "vgg16", "vit-b-16", "gpt2"}.contains(entry.name)) continue;
    nn::Model model = nn::find_model(entry.name);
    auto first = dir.path() / "a.json", second = dir.path() / "b.json";
    nn::save_model(model, first);
    nn::Model loaded = nn::load_model(first);
    nn::save_model(loaded, second);
    EXPECT_EQ(read_text_file(first, 1 << 20), read_text_file(second, 1 << 20)) << entry.name;
    json expected = entry.spec();
    expected["name"] = entry.name;
    EXPECT_EQ(nn::model_spec(loaded), expected) << entry.name;
  }
}

TEST(ModelSpec, EveryFieldOfEveryLayerSurvivesTheRoundTrip) {
  const std::string layers = R"([
    {"type": "Conv2d", "in_channels": 2, "out_channels": 4, "kernel_size": [3, 2], "stride": [1, 2],
     "padding": 1, "dilation": [2, 1], "groups": 2, "bias": false},
    {"type": "BatchNorm2d", "num_features": 4, "eps": 0.001, "momentum": 0.3, "affine": false},
    {"type": "LeakyReLU", "negative_slope": 0.125}, {"type": "MaxPool2d", "kernel_size": 3, "stride": 1, "padding": 1},
    {"type": "AvgPool2d", "kernel_size": [1, 2], "stride": 1}, {"type": "AdaptiveAvgPool2d", "output_size": [2, 1]},
    {"type": "Residual", "layers": [{"type": "Identity"}, {"type": "GELU"}], "shortcut": [{"type": "SiLU"}]},
    {"type": "Flatten"}, {"type": "BatchNorm1d", "num_features": 8}, {"type": "Dropout", "p": 0.25},
    {"type": "Sequential", "layers": [{"type": "Tanh"}, {"type": "Sigmoid"}, {"type": "ReLU"}]},
    {"type": "Linear", "in_features": 8, "out_features": 3, "bias": false}, {"type": "Softmax", "dim": 1}])";
  nn::Model model = read(layers, R"("name": "all", "input": [2, 6, 6], "classes": 3)");
  EXPECT_EQ(nn::model_spec(model)["layers"], json::parse(layers));
  nn::Model again = nn::read_model(json::parse(nn::print_model_spec(model)), "again");
  EXPECT_EQ(nn::print_model_spec(again), nn::print_model_spec(model));
}

TEST(ModelSpec, AModelWrittenInCodeHasTheSameForm) {
  nn::Model model;
  model.name = "code";
  model.input = {4};
  model.classes = 3;
  model.module =
      std::make_unique<nn::Sequential>(nn::Linear({.in_features = 4, .out_features = 3}), nn::ReLU());
  EXPECT_EQ(nn::print_model_spec(model), R"({
  "name": "code",
  "input": [4],
  "classes": 3,
  "layers": [
    {"type": "Linear", "in_features": 4, "out_features": 3},
    {"type": "ReLU"}
  ]
}
)");
}

TEST(ModelSpec, AllProblemsAreListedAtOnceWithTheirPlaces) {
  expect_error(
      ErrorCode::kBadConfig,
      {"m.json: 'classes' got \"ten\", expected an integer", "m.json: layers[0]: 'out_features' is missing",
       "m.json: layers[0]: 'biass' is not a known key", "did you mean 'bias'",
       "m.json: layers[1]: 'type' got 'Relu', did you mean 'ReLU'?",
       "m.json: layers[2].layers[1]: 'p' got 2, expected 0 to 1",
       "m.json: layers[2].shortcut[0]: got 7, expected an object", "m.json: 'colour' is not a known key"},
      [] {
        nn::read_model(json::parse(R"({"input": [4], "classes": "ten", "colour": 1, "layers": [
            {"type": "Linear", "in_features": 4, "biass": true}, {"type": "Relu", "slope": 3},
            {"type": "Residual", "layers": [{"type": "ReLU"}, {"type": "Dropout", "p": 2}], "shortcut": [7]}]})"),
                       "m.json");
      });
}

TEST(ModelSpec, MissingAndEmptyPartsAreErrors) {
  expect_error(ErrorCode::kBadConfig, {"'input' is missing", "'classes' is missing", "'layers' is missing"},
               [] { nn::read_model(json::object(), "m.json"); });
  expect_error(ErrorCode::kBadConfig, {"'layers' must be a list of at least one layer"}, [] { read("[]"); });
  expect_error(ErrorCode::kBadConfig, {"'type' is missing"}, [] { read("[{}]"); });
  expect_error(ErrorCode::kBadConfig, {"expected an object"}, [] { nn::read_model(json(3), "m.json"); });
  expect_error(ErrorCode::kBadConfig, {"'input'", "at least 1 at index 1"},
               [] { read(R"([{"type": "ReLU"}])", R"("input": [4, 0], "classes": 3)"); });
  expect_error(ErrorCode::kBadConfig, {"'input' has 9 axes, expected at most 7"},
               [] { read(R"([{"type": "ReLU"}])", R"("input": [1,1,1,1,1,1,1,1,1], "classes": 3)"); });
}

TEST(ModelSpec, T73ALayerThatDoesNotFitIsNamedByItsPlaceInTheFile) {
  expect_error(
      ErrorCode::kBadConfig,
      {"m.json: layers[2]", "layers.2", "Linear(in_features=5, out_features=3)", "f32[1, 6]", "[..., 5]"},
      [] {
        read(R"([{"type": "Linear", "in_features": 4, "out_features": 6}, {"type": "ReLU"},
                          {"type": "Linear", "in_features": 5, "out_features": 3}])");
      });
  expect_error(ErrorCode::kBadConfig, {"m.json", "not one score a class", "[1, 2]", "[1, 3]"},
               [] { read(R"([{"type": "Linear", "in_features": 4, "out_features": 2}])"); });
}

TEST(ModelSpec, ImpossibleSizesAreErrorsThatNameTheLayer) {
  // 2^62 elements: their bytes wrap around to 0 where nobody checks.
  for (const char* size : {"9223372036854775807", "4611686018427387904", "1000000000000000", "-3", "2.5"}) {
    std::string spec = fmt::format(
        R"({{"input": [4], "classes": 3, "layers": [{{"type": "Linear", "in_features": {}, "out_features": 1}}]}})",
        size);
    try {
      nn::read_model(parse_json(spec, "m.json"), "m.json");
      ADD_FAILURE() << size;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("m.json: layers[0]")) << size;
    }
  }
}

TEST(ModelSpec, EveryTruncationOfAFileIsAnError) {
  test::TempDir dir;
  auto path = dir.path() / "m.json";
  std::string text = nn::print_model_spec(nn::find_model("w1"));
  for (size_t length = 0; length + 1 < text.size(); length += 7) {
    write_file(path, std::string_view(text).substr(0, length));
    expect_error(ErrorCode::kBadConfig, {"m.json"}, [&] { nn::load_model(path); });
  }
  expect_error(ErrorCode::kNoInput, {"absent.json"}, [&] { nn::load_model(dir.path() / "absent.json"); });
}

/// name: total parameters and shapes, as PyTorch counts the same networks.
TEST(Zoo, T25T73ParametersAreThoseOfTheSameNetworksInPyTorch) {
  auto shapes = [](const std::string& name) {
    std::vector<std::pair<std::string, Shape>> all;
    for (const auto& [parameter, tensor] : nn::find_model(name).module->named_parameters())
      all.emplace_back(parameter, tensor.shape());
    return all;
  };
  using Shapes = std::vector<std::pair<std::string, Shape>>;
  EXPECT_EQ(shapes("lenet"), (Shapes{{"layers.0.weight", {6, 1, 5, 5}},
                                     {"layers.0.bias", {6}},
                                     {"layers.3.weight", {16, 6, 5, 5}},
                                     {"layers.3.bias", {16}},
                                     {"layers.7.weight", {120, 400}},
                                     {"layers.7.bias", {120}},
                                     {"layers.9.weight", {84, 120}},
                                     {"layers.9.bias", {84}},
                                     {"layers.11.weight", {10, 84}},
                                     {"layers.11.bias", {10}}}));
  EXPECT_EQ(shapes("w1"), (Shapes{{"layers.0.weight", {8, 3, 3, 3}},
                                  {"layers.0.bias", {8}},
                                  {"layers.4.weight", {2, 8}},
                                  {"layers.4.bias", {2}}}));
  for (auto [name, total] : {std::pair{"mlp", 235146},
                             {"lenet", 61706},
                             {"w1", 242},
                             {"w2", 61706},
                             {"w3", 235146},
                             {"w4", 33578402},
                             {"w4s", 137298}}) {
    int64_t count = 0;
    for (const auto& [parameter, shape] : shapes(name)) count += shape.numel();
    EXPECT_EQ(count, total) << name;
  }
}

TEST(Zoo, AnUnknownNameOffersTheNearest) {
  expect_error(ErrorCode::kBadConfig, {"'lenett'", "did you mean 'lenet'", "model.json"},
               [] { nn::find_model("lenett"); });
  expect_error(ErrorCode::kNoInput, {"nothing-here.json"}, [] { nn::find_model("nothing-here.json"); });
}

TEST(Summary, T73TracesLenetLayerByLayer) {
  nn::Model model = nn::find_model("lenet");
  nn::Summary summary = nn::summarize(*model.module, {1, 1, 28, 28});
  std::vector<Shape> outputs;
  for (const nn::SummaryRow& row : summary.rows) outputs.push_back(row.output);
  EXPECT_EQ(outputs, (std::vector<Shape>{{1, 6, 28, 28},
                                         {1, 6, 28, 28},
                                         {1, 6, 14, 14},
                                         {1, 16, 10, 10},
                                         {1, 16, 10, 10},
                                         {1, 16, 5, 5},
                                         {1, 400},
                                         {1, 120},
                                         {1, 120},
                                         {1, 84},
                                         {1, 84},
                                         {1, 10}}));
  EXPECT_EQ(summary.parameters, 61706);
  EXPECT_EQ(summary.parameter_bytes, 61706 * 4);
  EXPECT_EQ(summary.rows[0].parameters, 156);
  EXPECT_EQ(summary.rows[3].parameters, 2416);
  EXPECT_EQ(summary.rows[7].flops, 2.0 * 400 * 120);
  EXPECT_NEAR(summary.rows[3].flops, 2.0 * 16 * 100 * 150, 1600);
  EXPECT_TRUE(model.module->training());
  std::string table = nn::to_string(summary);
  EXPECT_THAT(table, testing::HasSubstr("layers.3"));
  EXPECT_THAT(table, testing::HasSubstr("Conv2d(in_channels=6, out_channels=16, kernel_size=5)"));
  EXPECT_THAT(table, testing::HasSubstr("61,706"));
}

TEST(Summary, CountsContainersOnlyForWhatTheyComputeThemselves) {
  nn::Sequential model{nn::Residual(nn::Sequential(nn::Identity(), nn::Sequential(nn::ReLU())))};
  nn::Summary summary = nn::summarize(model, {2, 5});
  std::vector<std::string> paths;
  for (const nn::SummaryRow& row : summary.rows) paths.push_back(row.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"layers.0.layers.0", "layers.0.layers.1.layers.0", "layers.0"}));
  EXPECT_EQ(summary.rows[2].flops, 10);
  EXPECT_EQ(summary.flops, 20);
}

TEST(ModelSpec, ErrorsInsideALayerMadeOfLayersPointAtItsPlaceInTheFile) {
  expect_error(ErrorCode::kBadConfig, {"m.json: layers[0]: layers.0.wte: Embedding(", "f32[1, 4]"}, [] {
    read(R"([{"type": "GPT", "vocab_size": 3, "block_size": 4, "n_layer": 1, "n_head": 1, "n_embd": 2}])",
         R"("input": [4], "classes": 3)");
  });
  nn::Model words =
      read(R"([{"type": "GPT", "vocab_size": 3, "block_size": 4, "n_layer": 1, "n_head": 1, "n_embd": 2}])",
           R"("input": [4], "classes": 3, "tokens": true)");
  EXPECT_EQ(words.batch(2), (TensorType{DType::i64, {2, 4}}));
  EXPECT_THAT(nn::print_model_spec(words), testing::HasSubstr("\"tokens\": true"));
}

}  // namespace
}  // namespace wholestep
