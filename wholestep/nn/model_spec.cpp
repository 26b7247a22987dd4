// Reading, checking and printing models.
#include "wholestep/nn/model_spec.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wholestep/graph/graph.h"
#include "wholestep/io/files.h"
#include "wholestep/io/json.h"
#include "wholestep/nn/layer_types.h"

namespace wholestep::nn {
namespace {

using nlohmann::json;

/// "type" first, then the fields, lists of layers last: the order in which a person reads a layer.
std::string print_layer(const json& layer) {
  std::string text = fmt::format("{{\"type\": {}", layer["type"].dump()), lists;
  for (const auto& [key, value] : layer.items()) {
    if (key == "type") continue;
    if (!value.is_array() || value.empty() || !value[0].is_object()) {
      std::string plain;
      for (const json& item : value.is_array() ? value : json::array())
        plain += (plain.empty() ? "" : ", ") + item.dump();
      text += fmt::format(", \"{}\": {}", key, value.is_array() ? "[" + plain + "]" : value.dump());
      continue;
    }
    std::string items;
    for (const json& item : value) items += (items.empty() ? "" : ", ") + print_layer(item);
    lists += fmt::format(", \"{}\": [{}]", key, items);
  }
  return text + lists + "}";
}

/// Traces the model in evaluation mode, where a batch of one is enough for every layer.
Shape output_shape(const Model& model) {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  bool was_training = model.module->training();
  model.module->eval();
  Tensor y = (*model.module)(graph->add_input(InputKind::kBatch, "x", model.batch(1)));
  model.module->train(was_training);
  return y.shape();
}

}  // namespace

TensorType Model::batch(int64_t samples) const {
  Shape shape{samples};
  for (int64_t extent : input) shape.push_back(extent);
  return {tokens ? DType::i64 : DType::f32, shape};
}

Model read_model(const json& spec, const std::string& where) {
  ConfigReader reader(spec, where);
  Model model;
  model.name = reader.get("name", "model");
  std::vector<int64_t> input = reader.require<std::vector<int64_t>>("input", {.min = 1});
  if (input.size() >= static_cast<size_t>(Shape::kMaxRank))
    reader.add_problem("input",
                       fmt::format("has {} axes, expected at most {}", input.size(), Shape::kMaxRank - 1));
  else model.input = Shape(input);
  model.targets = reader.get("targets", int64_t{0}, {.min = 1});
  if (model.targets == 0) model.classes = reader.require<int64_t>("classes", {.min = 1});
  model.tokens = reader.get("tokens", false);
  model.module = std::make_unique<Sequential>(read_layers(reader, "layers"));
  model.module->set_source(where);
  reader.finish();
  check_model(model);
  return model;
}

Model load_model(const std::filesystem::path& path) {
  return read_model(read_json_file(path, {.code = ErrorCode::kBadConfig}), path.filename().string());
}

void check_model(const Model& model) {
  Shape got;
  try {
    got = output_shape(model);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUsage) throw;
    throw Error(ErrorCode::kBadConfig, error.parts());  // the model's description is at fault, not the caller
  }
  Shape expected = model.tokens ? model.batch(1).shape : Shape{1};  // of tokens, scores at each place
  expected.push_back(model.targets > 0 ? model.targets : model.classes);
  if (got != expected)
    throw Error(ErrorCode::kBadConfig,
                {.what = model.targets > 0 ? "the model's output is not one number a target"
                                           : "the model's output is not one score a class",
                 .where = model.module->source(),
                 .got = to_string(got) + " for a batch of one",
                 .expected = to_string(expected),
                 .hint = fmt::format("end in a Linear layer of as many out_features as there are {}",
                                     model.targets > 0 ? "targets" : "classes")});
}

json model_spec(const Model& model) {
  json spec = json::object();
  model.module->write_spec(spec);  // a Sequential: "type" and "layers"
  if (spec["type"] != Sequential::kType) spec = {{"layers", json::array({spec})}};
  spec.erase("type");
  spec["name"] = model.name;
  spec["input"] = std::vector<int64_t>(model.input.begin(), model.input.end());
  if (model.targets > 0) spec["targets"] = model.targets;
  else spec["classes"] = model.classes;
  if (model.tokens) spec["tokens"] = true;
  return spec;
}

std::string print_model_spec(const Model& model) {
  json spec = model_spec(model);
  std::string layers;
  for (const json& layer : spec["layers"]) layers += (layers.empty() ? "" : ",\n    ") + print_layer(layer);
  std::string input = to_string(model.input);
  return fmt::format(
      "{{\n  \"name\": {},\n  \"input\": {},\n  \"{}\": {},{}\n  \"layers\": [\n    {}\n  ]\n}}\n",
      spec["name"].dump(), input, model.targets > 0 ? "targets" : "classes",
      model.targets > 0 ? model.targets : model.classes, model.tokens ? "\n  \"tokens\": true," : "", layers);
}

void save_model(const Model& model, const std::filesystem::path& path) {
  write_file(path, std::string_view(print_model_spec(model)));
}

}  // namespace wholestep::nn
