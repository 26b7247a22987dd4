// The registry of layers: one line each. Containers come last, read from the lists they hold.
#include "wholestep/nn/layer_types.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wholestep/nn/activations.h"
#include "wholestep/nn/attention.h"
#include "wholestep/nn/batch_norm.h"
#include "wholestep/nn/bilinear.h"
#include "wholestep/nn/conv1d.h"
#include "wholestep/nn/conv2d.h"
#include "wholestep/nn/conv_transpose2d.h"
#include "wholestep/nn/dropout.h"
#include "wholestep/nn/embedding.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/gpt.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/model_spec.h"
#include "wholestep/nn/norm.h"
#include "wholestep/nn/pool1d.h"
#include "wholestep/nn/pool2d.h"
#include "wholestep/nn/recurrent.h"
#include "wholestep/nn/transformer.h"
#include "wholestep/nn/vision_transformer.h"

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

std::unique_ptr<Module> read_parallel(ConfigReader& reader) {
  ParallelConfig config = read_config<ParallelConfig>(reader);
  LayerList branches = read_layers(reader, "layers");
  if (!config_problems(config).empty()) return nullptr;
  return std::make_unique<Parallel>(Sequential(std::move(branches)), config);
}

const ConfigFieldRow kLayersRow{"layers", "list of layers", "required", "applied one after the other"};
const ConfigFieldRow kShortcutRow{"shortcut", "list of layers", "", "the way around; empty: x itself"};

std::vector<ConfigFieldRow> parallel_rows() {
  std::vector<ConfigFieldRow> rows = document_fields(ParallelConfig().fields());
  rows.insert(rows.begin(), {"layers", "list of layers", "required", "applied each to x"});
  return rows;
}

}  // namespace

const std::vector<ConfigType<Module>>& layer_types() {
  static const std::vector<ConfigType<Module>> types = {
      config_type<Module, Linear>(),
      config_type<Module, Bilinear>(),
      config_type<Module, DropConnect>(),
      config_type<Module, Embedding>(),
      config_type<Module, Conv1d>(),
      config_type<Module, Conv2d>(),
      config_type<Module, ConvTranspose2d>(),
      config_type<Module, BatchNorm1d>(),
      config_type<Module, BatchNorm2d>(),
      config_type<Module, LayerNorm>(),
      config_type<Module, RMSNorm>(),
      config_type<Module, GroupNorm>(),
      config_type<Module, MaxPool1d>(),
      config_type<Module, MaxPool2d>(),
      config_type<Module, AvgPool1d>(),
      config_type<Module, AvgPool2d>(),
      config_type<Module, AdaptiveAvgPool2d>(),
      config_type<Module, RNN>(),
      config_type<Module, LSTM>(),
      config_type<Module, GRU>(),
      config_type<Module, MultiheadAttention>(),
      config_type<Module, TransformerEncoderLayer>(),
      config_type<Module, GPT>(),
      config_type<Module, VisionTransformer>(),
      config_type<Module, Flatten>(),
      config_type<Module, Reshape>(),
      config_type<Module, ReLU>(),
      config_type<Module, LeakyReLU>(),
      config_type<Module, PReLU>(),
      config_type<Module, ELU>(),
      config_type<Module, SELU>(),
      config_type<Module, Tanh>(),
      config_type<Module, Sigmoid>(),
      config_type<Module, GELU>(),
      config_type<Module, SiLU>(),
      config_type<Module, Mish>(),
      config_type<Module, Softplus>(),
      config_type<Module, Hardswish>(),
      config_type<Module, Dropout>(),
      config_type<Module, Softmax>(),
      config_type<Module, LogSoftmax>(),
      config_type<Module, Identity>(),
      {Sequential::kType, Sequential::kDoc, {kLayersRow}, read_sequential},
      {Residual::kType, Residual::kDoc, {kLayersRow, kShortcutRow}, read_residual},
      {ParallelConfig::kType, ParallelConfig::kDoc, parallel_rows(), read_parallel},
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
