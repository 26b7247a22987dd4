// wholestep summary: a model's layers, shapes and parameters.
#include "wholestep/nn/summary.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "wholestep/cli/app.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/train/run_folder.h"
#include "wholestep/train/trained_model.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;

struct SummaryOptions {
  std::string model;
  int64_t batch_size = 1;
  bool json = false, spec = false;
};

nn::Model open_model(const std::string& name) {
  if (std::filesystem::is_directory(name))
    return load_trained_model(require_checkpoint(name, Prefer::kBest).path).model;
  return nn::find_model(name);
}

json to_json(const nn::Model& model, const nn::Summary& summary) {
  json layers = json::array();
  for (const nn::SummaryRow& row : summary.rows)
    layers.push_back({{"path", row.path},
                      {"layer", row.description},
                      {"output", std::vector<int64_t>(row.output.begin(), row.output.end())},
                      {"parameters", row.parameters},
                      {"flops", row.flops}});
  return {{"model", model.name},
          {"input", std::vector<int64_t>(model.input.begin(), model.input.end())},
          {model.targets > 0 ? "targets" : "classes", model.targets > 0 ? model.targets : model.classes},
          {"layers", std::move(layers)},
          {"parameters", summary.parameters},
          {"parameter_bytes", summary.parameter_bytes},
          {"flops", summary.flops}};
}

void print_summary(const SummaryOptions& options) {
  nn::Model model = open_model(options.model);
  if (options.spec) {
    fmt::print("{}", nn::print_model_spec(model));
    return;
  }
  TensorType batch = model.batch(options.batch_size);
  nn::Summary summary = nn::summarize(*model.module, batch);
  if (options.json) fmt::print("{}\n", to_json(model, summary).dump(2));
  else
    fmt::print("{}  input {}  {} {}\n{}", model.name, to_string(batch.shape),
               model.targets > 0 ? "targets" : "classes", model.targets > 0 ? model.targets : model.classes,
               to_string(summary));
}

}  // namespace

void add_summary(CLI::App& app) {
  CLI::App* verb =
      add_verb(app, "summary", "A model's layers, shapes, parameters and floating-point operations",
               "  wholestep summary lenet\n"
               "  wholestep summary model.json --batch-size 64 --json\n"
               "  wholestep summary lenet --spec > my-lenet.json\n");
  auto o = std::make_shared<SummaryOptions>();
  verb->add_option("model", o->model, "name, path of a model.json, checkpoint or run folder")->required();
  verb->add_option("--batch-size", o->batch_size, "samples the shapes are for")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_flag("--spec", o->spec, "print the model as model.json instead");
  verb->add_flag("--json", o->json, "one JSON object on standard output");
  verb->callback([o] { print_summary(*o); });
}

}  // namespace wholestep::cli
