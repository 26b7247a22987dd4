// wholestep eval: a trained model on a data set.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wholestep/base/human.h"
#include "wholestep/cli/app.h"
#include "wholestep/cli/job.h"
#include "wholestep/cli/open_data.h"
#include "wholestep/cli/run_report.h"
#include "wholestep/cli/terminal.h"
#include "wholestep/train/run_folder.h"
#include "wholestep/train/trained_model.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;

struct EvalOptions {
  std::string place, data, part = "test", device = "auto", precision = "f32";
  int64_t threads = 0, batch_size = 256;
  bool no_tf32 = false, json = false;
};

// The run's own data unless another is given.
std::string data_spec(const EvalOptions& options, const TrainedModel& trained) {
  if (!options.data.empty()) return options.data;
  for (const char* key : {"validation", "data"})
    if (trained.run.is_object() && trained.run.contains(key) && trained.run[key].is_string())
      if (std::string spec = trained.run[key]; !spec.empty()) return spec;
  throw Error(ErrorCode::kUsage,
              {.what = "the checkpoint does not say what data it was trained on", .hint = "give --data"});
}

json to_json(const Evaluation& e, const std::string& data, const std::string& checkpoint) {
  json object = {{"data", data}, {"checkpoint", checkpoint}, {"samples", e.samples}, {"loss", e.loss}};
  if (e.regression) object.update(regression_json(*e.regression));
  else object.update({{"accuracy", *e.accuracy}, {"confusion", e.confusion}});
  return object;
}

void print_evaluation(const Evaluation& e, const std::vector<std::string>& class_names) {
  fmt::print("{}  ({} samples)\n", quality_of(e), human_count(e.samples));
  if (e.regression) return;
  fmt::print("\n");
  fmt::print("{:<16}{:>10}{:>10}  {}\n", "class", "samples", "recall", "most often taken for");
  for (size_t c = 0; c < class_names.size(); ++c) {
    int64_t samples = 0, most = 0;
    size_t taken_for = c;
    for (size_t k = 0; k < class_names.size(); ++k) {
      samples += e.confusion[c][k];
      if (k != c && e.confusion[c][k] > most) most = e.confusion[c][k], taken_for = k;
    }
    fmt::print("{:<16}{:>10}{:>10}  {}\n", class_names[c], human_count(samples),
               samples ? human_percent(static_cast<double>(e.confusion[c][c]) / static_cast<double>(samples))
                       : "n/a",
               most ? fmt::format("{} ({})", class_names[taken_for], human_count(most)) : "-");
  }
}

void eval(const EvalOptions& options) {
  Device device = use_device(options.device, options.threads);
  use_precision(options.precision, !options.no_tf32, device);
  FoundCheckpoint found = require_checkpoint(options.place, Prefer::kBest);
  if (!found.damage.empty())
    print_note(fmt::format("wholestep: warning: {}; using {}", found.damage, found.path.string()));
  TrainedModel trained = load_trained_model(found.path);
  std::string spec = data_spec(options, trained);
  DataSplits data = open_data_with_progress(spec);
  const Dataset& part = part_of(data, options.part);
  check_data_fits(trained.model, part, spec);
  check_same_names({trained.features, trained.targets, trained.class_names}, part, spec);
  Evaluation result = evaluate(*trained.model.module, *loss_of(trained.run), part, trained.normalization,
                               options.batch_size, {.backend = device.backend});
  if (options.json) fmt::print("{}\n", to_json(result, spec, found.path.string()).dump());
  else print_evaluation(result, part.class_names());
}

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* verb =
      add_verb(app, "eval", "Evaluate a trained model on a data set",
               "  wholestep eval runs/lenet\n"
               "  wholestep eval runs/lenet/version_0/checkpoints/last --data mnist --json\n"
               "Of a run the best checkpoint of the newest version is taken, and the data it was\n"
               "validated on.\n");
  auto o = std::make_shared<EvalOptions>();
  verb->add_option("run", o->place, "checkpoint, version folder, or folder of versions")->required();
  verb->add_option("--data", o->data, fmt::format("{} [that of the run]", kDataForms))->type_name("SPEC");
  verb->add_option("--part", o->part, "train or test")->capture_default_str();
  verb->add_option("--batch-size", o->batch_size, "samples at once")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--device", o->device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  verb->add_flag("--no-tf32", o->no_tf32, "exact f32 products on a GPU");
  verb->add_option("--precision", o->precision, "of products on a CPU: f32 or bf16")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "bf16"}));
  verb->add_option("--threads", o->threads, "compute threads [one a core]");
  verb->add_flag("--json", o->json, "one JSON object on standard output");
  verb->callback([o] { eval(*o); });
}

}  // namespace wholestep::cli
