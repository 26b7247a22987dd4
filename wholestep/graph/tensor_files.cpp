#include "wholestep/graph/tensor_files.h"

#include <algorithm>

#include "wholestep/io/npy.h"
#include "wholestep/io/safetensors.h"

namespace wholestep {
namespace {

Tensor copy_of(const TensorType& type, ByteSpan bytes) {
  Tensor t = empty(type);
  std::ranges::copy(bytes, t.bytes().begin());
  return t;
}

}  // namespace

void save_npy(const std::filesystem::path& path, const Tensor& tensor) {
  write_npy(path, tensor.type(), tensor.to_host().bytes());
}

Tensor load_npy(const std::filesystem::path& path) {
  NpyArray array = read_npy(path);
  return copy_of(array.type, array.bytes);
}

void save_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors) {
  std::vector<Tensor> hosts;
  std::vector<NamedBytes> list;
  for (const auto& [name, tensor] : tensors)
    list.push_back({name, tensor.type(), hosts.emplace_back(tensor.to_host()).bytes()});
  write_safetensors(path, std::move(list));
}

std::map<std::string, Tensor> load_safetensors(const std::filesystem::path& path) {
  SafetensorsFile file = SafetensorsFile::open(path);
  std::map<std::string, Tensor> tensors;
  for (const std::string& name : file.names())
    tensors.emplace(name, copy_of(file.type(name), file.bytes(name)));
  return tensors;
}

}  // namespace wholestep
