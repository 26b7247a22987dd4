// One list of fields; reading, defaults and the resolved form follow from it.
#include "wholestep/cli/run_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "wholestep/data/specs.h"
#include "wholestep/nn/loss.h"
#include "wholestep/optim/optimizer.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;

template <class Read>
void read_table(ConfigReader& reader, const std::string& key, json& table, Read read) {
  const json* given = reader.child(key);
  json type = table["type"];  // of the default, which options alone do not change
  if (given) table = as_table(*given);
  if (table.is_object() && !table.contains("type")) table["type"] = type;
  ConfigReader nested(table, reader.where() + ": " + key);
  read(nested);
  reader.absorb(nested);
}

json with_defaults(json object, const std::vector<ConfigFieldRow>& rows) {
  for (const ConfigFieldRow& row : rows)
    if (!object.contains(row.name) && !row.fallback.empty() && row.fallback != "required")
      object[row.name] = json::parse(row.fallback);
  return object;
}

template <class Type>
json with_type_defaults(json object, const std::vector<Type>& types) {
  for (const Type& type : types)
    if (object["type"] == type.name) return with_defaults(object, type.fields);
  return object;
}

// "optimizer.lr" -> value
void flatten(const json& object, const std::string& prefix, std::map<std::string, json>& flat) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) flatten(value, prefix + key + ".", flat);
    else flat[prefix + key] = value;
  }
}

}  // namespace

ConfigFields RunConfig::fields() {
  return {{"model", &model, "name of a network (see `wholestep list models`) or path of a model.json"},
          {"data", &data, kDataForms},
          {"validation", &validation, "data whose test part to validate on; that of `data` where empty"},
          {"device", &device, "auto for the best there is, cpu, cuda or cuda:N"},
          {"tf32", &tf32, "products of f32 on tensor cores in TF32, where the device has them"},
          {"precision",
           &precision,
           "of the operands of products on a CPU; bf16 needs one that multiplies it",
           {},
           {"f32", "bf16"}},
          {"out", &out, "folder of the run's versions; runs/<model> where empty"},
          {"threads", &threads, "compute threads; 0: one a core", {.min = 0, .max = 1024}}};
}

ConfigFields RunConfig::trainer_fields() {
  TrainerConfig& t = trainer;
  return {
      {"max_epochs", &t.max_epochs, "passes over the training data", {.min = 1}},
      {"batch_size", &t.batch_size, "samples at once", {.min = 1}},
      {"accumulate_grad_batches",
       &t.accumulate_grad_batches,
       "batches a step, whose gradients are added up",
       {.min = 1}},
      {"eval_batch_size", &t.eval_batch_size, "samples at once in validation", {.min = 1}},
      {"seed", &seed, "of initial parameters, order of samples and dropout", {.min = 0}},
      {"gradient_clip_norm",
       &t.gradient_clip_norm,
       "largest norm of all gradients together; 0: any",
       {.min = 0}},
      {"gradient_clip_value", &t.gradient_clip_value, "largest element of a gradient; 0: any", {.min = 0}},
      {"ema_decay",
       &t.ema_decay,
       "of averages of the weights, which are evaluated and kept in place of the last ones; 0: none",
       {.min = 0, .max = 1}},
      {"early_stopping_patience",
       &t.early_stopping_patience,
       "epochs without a better validation loss before stopping; 0: never",
       {.min = 0}},
      {"checkpoint_every_steps",
       &t.checkpoint_every_steps,
       "checkpoints also within an epoch; 0: at its end only",
       {.min = 0}},
      {"num_workers",
       &num_workers,
       "threads that read ahead where samples are streamed",
       {.min = 0, .max = 256}},
      {"resident", &t.resident, "keep samples beside the parameters and gather inside the step"},
      {"call_by_call", &t.call_by_call, "run kernels one at a time: a fault of the device names its kernel"},
      {"shuffle", &t.shuffle, "another order of samples every epoch"},
      {"memory_budget_bytes",
       &t.memory_budget_bytes,
       "most bytes of the plans together; 0: any",
       {.min = 0}}};
}

TrainerConfig RunConfig::trainer_config() const {
  TrainerConfig config = trainer;
  config.seed = static_cast<uint64_t>(seed);
  config.num_workers = static_cast<int>(num_workers);
  return config;
}

std::filesystem::path RunConfig::out_folder() const {
  if (!out.empty()) return out;
  return std::filesystem::path("runs") / std::filesystem::path(model).stem();
}

RunConfig read_run_config(const json& object, const std::string& where,
                          const std::vector<std::string>& required) {
  RunConfig config;
  ConfigReader reader(object, where);
  read_fields(reader, config.fields());
  for (const ConfigField& field : config.fields())
    if (auto* text = std::get_if<std::string*>(&field.value);
        text && (*text)->empty() && std::ranges::find(required, field.name) != required.end())
      reader.add_problem(field.name, "is missing: " + field.doc);
  if (object.contains("loss")) {
    config.loss = default_loss(targets_are_numbers(config.data));
    read_table(reader, "loss", config.loss, [](ConfigReader& r) { nn::read_loss(r); });
  }
  read_table(reader, "optimizer", config.optimizer, [](ConfigReader& r) { optim::read_optimizer(r); });
  read_table(reader, "schedule", config.schedule, [](ConfigReader& r) { optim::read_schedule(r); });
  if (const json* table = reader.child("trainer")) {
    ConfigReader nested(*table, where + ": trainer");
    read_fields(nested, config.trainer_fields());
    reader.absorb(nested);
  }
  reader.finish();
  return config;
}

json default_loss(bool numbers) { return {{"type", numbers ? "mse" : "cross-entropy"}}; }

json as_table(const json& value) { return value.is_string() ? json{{"type", value}} : value; }

json resolved(const RunConfig& config) {
  RunConfig values = config, defaults;
  json object = json::object(), trainer = json::object();
  write_fields(object, values.fields(), defaults.fields());
  object = with_defaults(object, document_fields(defaults.fields()));
  write_fields(trainer, values.trainer_fields(), defaults.trainer_fields());
  object["trainer"] = with_defaults(trainer, document_fields(defaults.trainer_fields()));
  json loss = config.loss.is_null() ? default_loss(targets_are_numbers(config.data)) : config.loss;
  object["loss"] = with_type_defaults(std::move(loss), nn::loss_types());
  object["optimizer"] = with_type_defaults(config.optimizer, optim::optimizer_types());
  object["schedule"] = with_type_defaults(config.schedule, optim::schedule_types());
  return object;
}

std::vector<std::string> changes_that_matter(const json& before, const json& after) {
  static const std::vector<std::string> kFree = {"device",
                                                 "out",
                                                 "threads",
                                                 "trainer.max_epochs",
                                                 "trainer.early_stopping_patience",
                                                 "trainer.checkpoint_every_steps",
                                                 "trainer.num_workers",
                                                 "trainer.call_by_call",
                                                 "trainer.resident",
                                                 "trainer.memory_budget_bytes"};
  std::map<std::string, json> was, is;
  flatten(before, "", was);
  flatten(after, "", is);
  std::vector<std::string> changes;
  for (const auto& [key, value] : is)
    if (std::ranges::find(kFree, key) == kFree.end() && was.contains(key) && was[key] != value)
      changes.push_back(fmt::format("{} was {}, now {}", key, was[key].dump(), value.dump()));
  return changes;
}

}  // namespace wholestep::cli
