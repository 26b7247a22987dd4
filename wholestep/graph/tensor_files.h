// Tensors in files that NumPy and PyTorch users read and write: .npy for one, .safetensors for several by
// name.
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "wholestep/graph/tensor.h"

namespace wholestep {

/// One tensor as an .npy file, durably. kUsage for bf16, which NumPy does not have; kIo.
void save_npy(const std::filesystem::path& path, const Tensor& tensor);
/// kNoInput, kIo; kBadData naming the file where it breaks the format.
Tensor load_npy(const std::filesystem::path& path);

/// Tensors by name as a .safetensors file, durably, with a SHA-256 of each. kIo.
void save_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors);
/// kNoInput, kIo; kBadData naming file and tensor where one breaks the format or is not what was saved.
std::map<std::string, Tensor> load_safetensors(const std::filesystem::path& path);

}  // namespace wholestep
