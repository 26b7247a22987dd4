// A checkpoint is a folder committed as one unit: model.safetensors (parameters and buffers under PyTorch's
// names), optimizer.safetensors (moments, counters, random state, running metrics), trainer_state.json
// (position), config.json (model, normalisation, classes) and manifest.json (size and SHA-256 of each file).
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "wholestep/graph/tensor.h"

namespace wholestep {

struct CheckpointContent {
  std::vector<Tensor> model_tensors, state_tensors;  ///< concrete, named
  nlohmann::json trainer_state, config;
};

/// Replaces the folder atomically; the old one stays whole until the new one is. kIo where space is short or
/// writing fails.
void save_checkpoint(const std::filesystem::path& folder, const CheckpointContent& content);

/// Checks sizes and hashes against the manifest. kNoInput where there is none, kBadData naming the file or
/// tensor.
void verify_checkpoint(const std::filesystem::path& folder);
nlohmann::json read_checkpoint_json(const std::filesystem::path& folder, const std::string& file);
/// Fills tensors by name; every tensor must be there with its dtype and shape, and nothing else. kBadData
/// naming the tensor.
void load_tensors(const std::filesystem::path& file, std::span<const Tensor> tensors);

}  // namespace wholestep
