// config.json of a checkpoint: "model" as in model.json, "run", "normalization", "classes", of
// tables "columns".
#include "wholestep/train/trained_model.h"

#include <fmt/format.h>

#include "wholestep/io/config_reader.h"
#include "wholestep/train/checkpoint.h"

namespace wholestep {
namespace {

std::vector<float> to_floats(const std::vector<double>& numbers) { return {numbers.begin(), numbers.end()}; }

}  // namespace

nlohmann::json describe_model(const nn::Model& model, nlohmann::json run) {
  return {{"model", nn::model_spec(model)}, {"run", std::move(run)}};
}

SampleType TrainedModel::sample() const {
  return {model.input, features.empty() ? DType::u8 : DType::f32, static_cast<int64_t>(targets.size())};
}

TrainedModel load_trained_model(const std::filesystem::path& checkpoint) {
  verify_checkpoint(checkpoint);
  std::string where = (checkpoint / "config.json").string();
  nlohmann::json config = read_checkpoint_json(checkpoint, "config.json");
  try {
    ConfigReader reader(config, where);
    TrainedModel trained;
    const nlohmann::json* spec = reader.child("model");
    if (!spec) reader.add_problem("model", "is missing: the checkpoint does not say what model it is of");
    if (const nlohmann::json* run = reader.child("run")) trained.run = *run;
    trained.class_names = reader.require<std::vector<std::string>>("classes");
    const nlohmann::json none = nlohmann::json::object();
    const nlohmann::json* normalization = reader.child("normalization");
    ConfigReader nested(normalization ? *normalization : none, where + ": normalization");
    trained.normalization.mean = to_floats(nested.require<std::vector<double>>("mean"));
    trained.normalization.std = to_floats(nested.require<std::vector<double>>("std"));
    trained.normalization.target_mean = to_floats(nested.get("target_mean", std::vector<double>{}));
    trained.normalization.target_std = to_floats(nested.get("target_std", std::vector<double>{}));
    reader.absorb(nested);
    if (const nlohmann::json* columns = reader.child("columns")) {
      ConfigReader names(*columns, where + ": columns");
      trained.features = names.require<std::vector<std::string>>("features");
      trained.targets = names.require<std::vector<std::string>>("targets");
      reader.absorb(names);
    }
    reader.finish();
    trained.model = nn::read_model(*spec, where);
    load_parameters(*trained.model.module, checkpoint);
    return trained;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadConfig) throw;
    throw Error(ErrorCode::kBadData, error.parts());  // a file wrote this, not a person
  }
}

void load_parameters(nn::Module& model, const std::filesystem::path& checkpoint) {
  std::vector<Tensor> tensors;
  for (const auto& named : {model.named_parameters(), model.named_buffers()})
    for (const auto& [name, tensor] : named) tensors.push_back(tensor);
  load_tensors(checkpoint / "model.safetensors", tensors);
}

}  // namespace wholestep
