// Lays out the tensors, writes the header that describes the layout, then the tensors.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "wholestep/base/error.h"
#include "wholestep/io/hash.h"
#include "wholestep/io/safetensors.h"
#include "wholestep/io/safetensors_format.h"

namespace wholestep {
namespace {

using nlohmann::json;

void check(const std::vector<NamedBytes>& tensors, const StringMap& metadata) {
  std::set<std::string_view> names;
  for (const NamedBytes& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == kSafetensorsMetadata)
      throw Error(ErrorCode::kUsage,
                  {.what = "not a name for a tensor", .got = fmt::format("'{}'", tensor.name)});
    if (!names.insert(tensor.name).second)
      throw Error(ErrorCode::kUsage, {.what = "two tensors of one name", .got = tensor.name});
    if (static_cast<uint64_t>(tensor.type.bytes()) != tensor.bytes.size())
      throw Error(ErrorCode::kUsage,
                  {.what = "a tensor's bytes do not match its type",
                   .where = tensor.name,
                   .got = fmt::format("{} bytes", tensor.bytes.size()),
                   .expected = fmt::format("{} for {}", tensor.type.bytes(), to_string(tensor.type))});
  }
  for (const auto& [key, value] : metadata)
    if (key.starts_with(kSafetensorsHashPrefix))
      throw Error(ErrorCode::kUsage, {.what = "a metadata key reserved for hashes", .got = key});
}

std::string_view dtype_name(DType dtype) {
  for (const SafetensorsDType& row : kSafetensorsDTypes)
    if (row.dtype == dtype) return row.name;
  throw Error(ErrorCode::kUsage,
              {.what = "a dtype safetensors has no name for", .got = std::string(name(dtype))});
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::vector<NamedBytes> tensors,
                       const StringMap& metadata) {
  check(tensors, metadata);
  std::ranges::sort(tensors, {},
                    [](const NamedBytes& t) { return std::tuple(-size_bytes(t.type.dtype), t.name); });
  json header = json::object();
  json& notes = header[kSafetensorsMetadata] = metadata;
  uint64_t offset = 0;
  for (const NamedBytes& tensor : tensors) {
    header[tensor.name] = {
        {"dtype", dtype_name(tensor.type.dtype)},
        {"shape", std::vector<int64_t>(tensor.type.shape.begin(), tensor.type.shape.end())},
        {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    notes[std::string(kSafetensorsHashPrefix) + tensor.name] = sha256_hex(tensor.bytes);
    offset += tensor.bytes.size();
  }
  if (notes.empty()) header.erase(kSafetensorsMetadata);

  std::string text;
  try {
    text = header.dump();
  } catch (const json::type_error& error) {
    throw Error(ErrorCode::kUsage,
                {.what = "a name that is not UTF-8", .where = path.string(), .got = error.what()});
  }
  text.append((8 - text.size() % 8) % 8, ' ');  // the format aligns the data with spaces
  Bytes prefix;
  for (int shift = 0; shift < 64; shift += 8) prefix.push_back(static_cast<std::byte>(text.size() >> shift));
  std::vector<ByteSpan> pieces = {prefix, bytes_of(text)};
  for (const NamedBytes& tensor : tensors) pieces.push_back(tensor.bytes);
  write_file(path, pieces);
}

}  // namespace wholestep
