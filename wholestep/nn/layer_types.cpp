// The registry of layers: one line each. Containers come last, read from the lists they hold.
#include "wholestep/nn/layer_types.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wholestep/nn/activations.h"
#include "wholestep/nn/batch_norm.h"
#include "wholestep/nn/conv2d.h"
#include "wholestep/nn/dropout.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/model_spec.h"
#include "wholestep/nn/pool2d.h"

namespace wholestep::nn {
namespace {

std::unique_ptr<Module> read_sequential(ConfigReader& reader) {
  return std::make_unique<Sequential>(read_layers(reader, "layers"));
}

std::unique_ptr<Module> read_residual(ConfigReader& reader) {
  LayerList body = read_layers(reader, "layers");
  LayerList shortcut = reader.has("shortcut") ? read_layers(reader, "shortcut") : LayerList();
  return std::make_unique<Residual>(Sequential(std::move(body)), Sequential(std::move(shortcut)));
}

const ConfigFieldRow kLayersRow{"layers", "list of layers", "required", "applied one after the other"};
const ConfigFieldRow kShortcutRow{"shortcut", "list of layers", "", "the way around; empty: x itself"};

}  // namespace

const std::vector<ConfigType<Module>>& layer_types() {
  static const std::vector<ConfigType<Module>> types = {
      config_type<Module, Linear>(),
      config_type<Module, Conv2d>(),
      config_type<Module, BatchNorm1d>(),
      config_type<Module, BatchNorm2d>(),
      config_type<Module, MaxPool2d>(),
      config_type<Module, AvgPool2d>(),
      config_type<Module, AdaptiveAvgPool2d>(),
      config_type<Module, Flatten>(),
      config_type<Module, ReLU>(),
      config_type<Module, LeakyReLU>(),
      config_type<Module, Tanh>(),
      config_type<Module, Sigmoid>(),
      config_type<Module, GELU>(),
      config_type<Module, SiLU>(),
      config_type<Module, Dropout>(),
      config_type<Module, Softmax>(),
      config_type<Module, Identity>(),
      {Sequential::kType, Sequential::kDoc, {kLayersRow}, read_sequential},
      {Residual::kType, Residual::kDoc, {kLayersRow, kShortcutRow}, read_residual},
  };
  return types;
}

LayerList read_layers(ConfigReader& reader, const std::string& key) {
  LayerList layers;
  const nlohmann::json* list = reader.child(key);
  if (!list || !list->is_array() || list->empty()) {
    reader.add_problem(key, list ? "must be a list of at least one layer" : "is missing");
    return layers;
  }
  // "model.json" leads to "model.json: layers[3]", and that to "model.json: layers[3].layers[0]".
  const std::string joint = reader.where().ends_with(']') ? "." : ": ";
  for (size_t i = 0; i < list->size(); ++i) {
    ConfigReader nested((*list)[i], fmt::format("{}{}{}[{}]", reader.where(), joint, key, i));
    try {
      if (std::unique_ptr<Module> layer = read_typed(nested, layer_types())) {
        layer->set_source(nested.where());
        layers.add(std::move(layer));
      }
    } catch (const Error& error) {  // a layer too large to make
      throw error.within(nested.where());
    }
    reader.absorb(nested);
  }
  return layers;
}

}  // namespace wholestep::nn
