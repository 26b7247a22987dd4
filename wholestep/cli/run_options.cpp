// The table of options, and the order in which values go over each other.
#include "wholestep/cli/run_options.h"

#include <fmt/format.h>

#include <charconv>
#include <memory>

#include "wholestep/base/human.h"
#include "wholestep/data/specs.h"
#include "wholestep/io/toml.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;

enum class Kind { kText, kData, kFolder, kNumber, kBytes, kTrue, kFalse };

struct RunOption {
  unsigned set;
  const char *group, *name, *key;
  Kind kind;
  const char* doc;
};

constexpr const char *kData = "Data", *kStep = "Step", *kRun = "Run";
constexpr RunOption kOptions[] = {
    {kDataOptions, kData, "--data", "data", Kind::kData, kDataForms},
    {kTrainingOptions, kData, "--val", "validation", Kind::kData,
     "data whose test part to validate on, in place of --data's"},
    {kTrainingOptions, kData, "--stream", "trainer.resident", Kind::kFalse,
     "read batches as they are needed, keep none in memory"},
    {kTrainingOptions, kData, "--workers", "trainer.num_workers", Kind::kNumber,
     "threads that read ahead, with --stream [0]"},
    {kModelOptions, kStep, "--batch-size", "trainer.batch_size", Kind::kNumber, "samples at once [64]"},
    {kModelOptions, kStep, "--accumulate", "trainer.accumulate_grad_batches", Kind::kNumber,
     "batches a step, whose gradients are added up [1]"},
    {kModelOptions, kStep, "--loss", "loss.type", Kind::kText,
     "see `wholestep list losses` [cross-entropy; mse for targets]"},
    {kModelOptions, kStep, "--optimizer", "optimizer.type", Kind::kText,
     "see `wholestep list optimizers` [adam]"},
    {kModelOptions, kStep, "--lr", "optimizer.lr", Kind::kNumber, "learning rate [the optimizer's default]"},
    {kModelOptions, kStep, "--momentum", "optimizer.momentum", Kind::kNumber, "of the optimizer"},
    {kModelOptions, kStep, "--nesterov", "optimizer.nesterov", Kind::kTrue, "Nesterov momentum of sgd"},
    {kModelOptions, kStep, "--weight-decay", "optimizer.weight_decay", Kind::kNumber, "of the optimizer"},
    {kModelOptions, kStep, "--schedule", "schedule.type", Kind::kText,
     "see `wholestep list schedules` [constant]"},
    {kModelOptions, kStep, "--warmup-steps", "schedule.warmup_steps", Kind::kNumber,
     "linear rise in front of the schedule"},
    {kModelOptions, kStep, "--clip", "trainer.gradient_clip_norm", Kind::kNumber,
     "largest norm of the gradients"},
    {kModelOptions, kStep, "--clip-value", "trainer.gradient_clip_value", Kind::kNumber,
     "largest element of a gradient"},
    {kModelOptions, kStep, "--ema", "trainer.ema_decay", Kind::kNumber,
     "decay of averages of the weights, which are evaluated and kept"},
    {kModelOptions, kStep, "--seed", "trainer.seed", Kind::kNumber, "of parameters, order and dropout [0]"},
    {kModelOptions, kStep, "--memory-budget", "trainer.memory_budget_bytes", Kind::kBytes,
     "refuse plans that need more, as 64MiB"},
    {kModelOptions, kStep, "--device", "device", Kind::kText,
     "auto, cpu, cuda or cuda:N, see `wholestep devices` [auto]"},
    {kModelOptions, kStep, "--no-tf32", "tf32", Kind::kFalse,
     "exact f32 products on a GPU, in place of TF32 on its tensor cores"},
    {kModelOptions, kStep, "--precision", "precision", Kind::kText,
     "of products on a CPU: f32, or bf16 with sums and weights in f32 [f32]"},
    {kModelOptions, kStep, "--threads", "threads", Kind::kNumber, "compute threads [one a core]"},
    {kTrainingOptions, kRun, "--epochs", "trainer.max_epochs", Kind::kNumber,
     "passes over the training data [5]"},
    {kTrainingOptions, kRun, "--patience", "trainer.early_stopping_patience", Kind::kNumber,
     "stop after so many epochs without a better validation loss"},
    {kTrainingOptions, kRun, "--checkpoint-every", "trainer.checkpoint_every_steps", Kind::kNumber,
     "checkpoints every so many steps too"},
    {kTrainingOptions, kRun, "--call-by-call", "trainer.call_by_call", Kind::kTrue,
     "run kernels one at a time: slow, the same bits, and a fault of the device names its kernel"},
    {kTrainingOptions, kRun, "--out", "out", Kind::kFolder, "folder of the run's versions [runs/<model>]"},
};

// A number where the text is one, otherwise the text: then the configuration says what it expected.
json number_of(const std::string& text) {
  const char *begin = text.data(), *end = begin + text.size();
  int64_t integer = 0;
  if (auto [stop, failed] = std::from_chars(begin, end, integer); failed == std::errc() && stop == end)
    return integer;
  double real = 0;
  if (auto [stop, failed] = std::from_chars(begin, end, real); failed == std::errc() && stop == end)
    return real;
  return text;
}

json value_of(Kind kind, const std::string& text) {
  switch (kind) {
    case Kind::kText:
    case Kind::kData:
    case Kind::kFolder: return text;
    case Kind::kNumber: return number_of(text);
    case Kind::kBytes: return parse_bytes(text);
    case Kind::kTrue: return true;
    case Kind::kFalse: return false;
  }
  return nullptr;
}

const char* type_name(Kind kind) {
  switch (kind) {
    case Kind::kText: return "NAME";
    case Kind::kData: return "SPEC";
    case Kind::kFolder: return "DIR";
    case Kind::kNumber: return "N";
    case Kind::kBytes: return "BYTES";
    case Kind::kTrue:
    case Kind::kFalse: break;
  }
  return "";
}

void set_key(json& object, const std::string& key, json value) {
  size_t dot = key.find('.');
  if (dot == std::string::npos) {
    object[key] = std::move(value);
    return;
  }
  json& table = object[key.substr(0, dot)];
  if (!table.is_object()) table = json::object();  // what stood there is replaced, as by any later value
  table[key.substr(dot + 1)] = std::move(value);
}

}  // namespace

void add_run_options(CLI::App* verb, RunOptions& options, unsigned sets) {
  verb->add_option_function<std::string>(
          "model", [&](const std::string& text) { options.given.emplace_back("model", text); },
          "name of a network (see `wholestep list models`) or path of a model.json")
      ->type_name("");
  for (const RunOption& option : kOptions) {
    if (!(option.set & sets)) continue;
    const RunOption* o = &option;
    if (o->kind == Kind::kTrue || o->kind == Kind::kFalse)
      verb->add_flag_function(
              o->name, [&options, o](int64_t) { options.given.emplace_back(o->key, ""); }, o->doc)
          ->group(o->group);
    else
      verb->add_option_function<std::string>(
              o->name, [&options, o](const std::string& text) { options.given.emplace_back(o->key, text); },
              o->doc)
          ->type_name(type_name(o->kind))
          ->group(o->group);
  }
  verb->add_option("--config", options.config, "TOML file of a run, as config.toml in its folder")
      ->type_name("FILE");
  verb->add_option("--set", options.set, "set any key of the configuration: --set optimizer.eps=1e-7")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

json merge(const RunOptions& options, json base) {
  if (!options.config.empty()) base.merge_patch(read_toml_file(options.config));
  for (const std::string& assignment : options.set) apply_override(base, assignment);
  for (const auto& [key, text] : options.given) {
    Kind kind = Kind::kText;
    for (const RunOption& option : kOptions)
      if (key == option.key) kind = option.kind;
    set_key(base, key, value_of(kind, text));
  }
  return base;
}

std::string source_name(const RunOptions& options) {
  return options.config.empty() ? "command line" : options.config;
}

}  // namespace wholestep::cli
