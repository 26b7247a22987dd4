// A model out of a checkpoint, with what is needed to feed it and to read its answers.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "wholestep/data/transforms.h"
#include "wholestep/nn/model_spec.h"

namespace wholestep {

struct TrainedModel {
  nn::Model model;
  Normalization normalization;
  std::vector<std::string> class_names;
  std::vector<std::string> features, targets;  ///< columns of the table it was trained on; else empty
  /// What it is fed: f32 rows where it was trained on a table, else u8 values.
  SampleType sample() const;
  nlohmann::json run;  ///< the configuration of the run that trained it; null where none was kept
};

/// What a checkpoint keeps as TrainerConfig::description so that it can be loaded again.
nlohmann::json describe_model(const nn::Model& model, nlohmann::json run = nullptr);

/// kNoInput, kBadData naming the file for a checkpoint that is damaged or was written without
/// describe_model().
TrainedModel load_trained_model(const std::filesystem::path& checkpoint);

/// Fills the model's parameters and buffers from a checkpoint of it.
void load_parameters(nn::Module& model, const std::filesystem::path& checkpoint);

}  // namespace wholestep
