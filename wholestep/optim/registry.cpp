// The optimizers and schedules that config files and the command line can name: one line each.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wholestep/optim/adadelta.h"
#include "wholestep/optim/adagrad.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/adamax.h"
#include "wholestep/optim/cycles.h"
#include "wholestep/optim/decays.h"
#include "wholestep/optim/lamb.h"
#include "wholestep/optim/lion.h"
#include "wholestep/optim/muon.h"
#include "wholestep/optim/nadam.h"
#include "wholestep/optim/plateau.h"
#include "wholestep/optim/radam.h"
#include "wholestep/optim/rmsprop.h"
#include "wholestep/optim/sequence.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::optim {

const std::vector<ConfigType<Optimizer>>& optimizer_types() {
  static const std::vector<ConfigType<Optimizer>> types = {
      config_type<Optimizer, SGD>(),      config_type<Optimizer, Adam>(),
      config_type<Optimizer, AdamW>(),    config_type<Optimizer, NAdam>(),
      config_type<Optimizer, RAdam>(),    config_type<Optimizer, Adamax>(),
      config_type<Optimizer, RMSprop>(),  config_type<Optimizer, Adagrad>(),
      config_type<Optimizer, Adadelta>(), config_type<Optimizer, Lion>(),
      config_type<Optimizer, LAMB>(),     config_type<Optimizer, Muon>()};
  return types;
}

const std::vector<ConfigType<Schedule>>& schedule_types() {
  static const std::vector<ConfigType<Schedule>> types = {config_type<Schedule, Constant>(),
                                                          config_type<Schedule, Step>(),
                                                          config_type<Schedule, MultiStep>(),
                                                          config_type<Schedule, Exponential>(),
                                                          config_type<Schedule, Linear>(),
                                                          config_type<Schedule, Polynomial>(),
                                                          config_type<Schedule, Cosine>(),
                                                          config_type<Schedule, CosineRestarts>(),
                                                          config_type<Schedule, OneCycle>(),
                                                          config_type<Schedule, ReduceOnPlateau>(),
                                                          sequence_type()};
  return types;
}

std::unique_ptr<Schedule> read_schedule(ConfigReader& reader) { return read_typed(reader, schedule_types()); }

namespace {

/// One of "groups"; what it does not say is as in `around`, unless it has a type of its own.
void read_group(ConfigReader& reader, Optimizer& optimizer, nlohmann::json group, const std::string& where) {
  if (group.is_object() && !group.contains("type"))
    for (const auto& [key, value] : reader.object().items())
      if (key != "groups" && !group.contains(key)) group[key] = value;
  ConfigReader nested(group, where);
  std::string names = nested.require<std::string>("parameters");
  std::shared_ptr<Optimizer> own = read_typed(nested, optimizer_types());
  reader.absorb(nested);
  if (own) optimizer.add_group(names, own);
}

}  // namespace

std::unique_ptr<Optimizer> read_optimizer(ConfigReader& reader) {
  if (reader.get("type", "") == "lbfgs") {
    reader.add_problem("type",
                       "got 'lbfgs', which takes the loss of all samples many times a step and is led by the "
                       "host: use optim::LBFGS in a program");
    reader.accept_any_key();
    return nullptr;
  }
  std::unique_ptr<Optimizer> optimizer = read_typed(reader, optimizer_types());
  const nlohmann::json* groups = reader.child("groups");
  if (!groups || !optimizer) return optimizer;
  if (!groups->is_array()) reader.add_problem("groups", "expected an array of tables");
  else
    for (size_t i = 0; i < groups->size(); ++i)
      read_group(reader, *optimizer, (*groups)[i], fmt::format("{}: groups[{}]", reader.where(), i));
  return optimizer;
}

}  // namespace wholestep::optim
