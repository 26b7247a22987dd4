// Models as data: {"name": "...", "input": [1, 28, 28], "classes": 10, "layers": [{"type": "Conv2d", ...}]},
// "targets": 1 in place of classes where the output estimates numbers, and "tokens": true where samples are
// indices. Layers read and write their config structs, containers their
// lists, so every model made of the library's layers has this form.
#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "wholestep/io/config_fields.h"
#include "wholestep/nn/module.h"

namespace wholestep::nn {

/// A module and what has to be known to feed it.
struct Model {
  std::string name;
  Shape input;          ///< of one sample, without the batch axis
  int64_t classes = 0;  ///< extent of the output [N, classes], or [N, input..., classes] of tokens
  int64_t targets = 0;  ///< in place of classes: numbers that the output [N, targets] estimates
  bool tokens = false;  ///< samples are indices, i64, not numbers
  std::unique_ptr<Module> module;
  TensorType batch(int64_t samples) const;  ///< what the module takes: f32 or i64 [samples, input...]
};

/// From its JSON form; `where` names it in errors and is the "source line" of its layers. kBadConfig lists
/// all problems of all layers at once, or names the layer whose input does not fit.
Model read_model(const nlohmann::json& spec, const std::string& where);
/// From a file of that form; kNoInput where it cannot be read.
Model load_model(const std::filesystem::path& path);

/// The JSON form; kUsage where a module is no layer of the library.
nlohmann::json model_spec(const Model& model);
/// The same as text, a line a layer: what save_model() writes and load_model() reads back to equal text.
std::string print_model_spec(const Model& model);
void save_model(const Model& model, const std::filesystem::path& path);

/// Throws kBadConfig where the model does not take its input to [N, classes] or [N, targets], naming the
/// layer.
void check_model(const Model& model);

/// The layers that files can name, in the order of the documentation.
const std::vector<ConfigType<Module>>& layer_types();

}  // namespace wholestep::nn
