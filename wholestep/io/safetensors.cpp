// The strict reader. Every offset is checked against the file before it is used; then the tensors must tile
// the data section without holes or overlaps.
#include "wholestep/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "wholestep/base/suggest.h"
#include "wholestep/io/checked_size.h"
#include "wholestep/io/hash.h"
#include "wholestep/io/json.h"
#include "wholestep/io/safetensors_format.h"

namespace wholestep {
namespace {

using nlohmann::json;

[[noreturn]] void fail(ErrorParts parts) { throw Error(ErrorCode::kBadData, std::move(parts)); }

uint64_t header_length(const Bytes& file, const std::string& source) {
  if (file.size() < kSafetensorsPrefixBytes)
    fail({.what = "too short for a safetensors file",
          .where = source,
          .got = fmt::format("{} bytes", file.size()),
          .expected = "at least 8"});
  uint64_t length = 0;
  for (size_t i = 0; i < kSafetensorsPrefixBytes; ++i)
    length |= static_cast<uint64_t>(file[i]) << (8 * i);  // little-endian
  uint64_t room = std::min(kSafetensorsMaxHeaderBytes, file.size() - kSafetensorsPrefixBytes);
  if (length > room)
    fail({.what = "the safetensors header does not fit in the file",
          .where = source + ": byte 0",
          .got = fmt::format("a header of {} bytes", length),
          .expected = fmt::format("at most {}", room),
          .hint = "the file is cut off, or no safetensors file"});
  return length;
}

DType dtype_of(const json& info, const std::string& where) {
  if (!info.contains("dtype") || !info["dtype"].is_string())
    fail({.what = "a tensor without dtype", .where = where});
  const std::string& text = info["dtype"].get_ref<const std::string&>();
  for (const SafetensorsDType& row : kSafetensorsDTypes)
    if (row.name == text) return row.dtype;
  fail({.what = "unsupported safetensors dtype",
        .where = where,
        .got = text,
        .expected = "F32, F64, I32, I64, U8 or BOOL"});
}

// An array of non-negative integers, each below 2^63.
std::vector<uint64_t> numbers_of(const json& info, const char* key, const std::string& where) {
  std::vector<uint64_t> numbers;
  bool good = info.contains(key) && info[key].is_array();
  for (size_t i = 0; good && i < info[key].size(); ++i) {
    const json& value = info[key][i];
    good = value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{INT64_MAX};
    if (good) numbers.push_back(value.get<uint64_t>());
  }
  if (!good)
    fail({.what = fmt::format("a tensor's {} is not a list of non-negative integers", key), .where = where});
  return numbers;
}

Shape shape_of(const json& info, const std::string& where) {
  std::vector<uint64_t> extents = numbers_of(info, "shape", where);
  if (extents.size() > Shape::kMaxRank)
    fail({.what = "too many dimensions",
          .where = where,
          .got = std::to_string(extents.size()),
          .expected = fmt::format("at most {}", Shape::kMaxRank)});
  Shape shape;
  for (uint64_t extent : extents) shape.push_back(static_cast<int64_t>(extent));
  return shape;
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path, uint64_t limit_bytes) {
  return parse(read_file(path, limit_bytes), path.string());
}

SafetensorsFile SafetensorsFile::parse(Bytes file, const std::string& source) {
  SafetensorsFile result;
  result.source_ = source;
  result.file_ = std::move(file);
  uint64_t length = header_length(result.file_, source);
  result.read_header(length);
  result.check_layout(kSafetensorsPrefixBytes + length);
  result.check_hashes();
  return result;
}

void SafetensorsFile::read_header(uint64_t header_bytes) {
  std::string_view text = text_of(ByteSpan(file_).subspan(kSafetensorsPrefixBytes, header_bytes));
  std::string where = source_ + ": header";
  if (!text.starts_with('{')) fail({.what = "a safetensors header starts with '{'", .where = where});
  json header = parse_json(text, where, {.max_bytes = kSafetensorsMaxHeaderBytes});
  uint64_t data_start = kSafetensorsPrefixBytes + header_bytes;
  for (const auto& [name, info] : header.items()) {
    std::string tensor = fmt::format("{}: tensor '{}'", source_, name);
    if (!info.is_object()) fail({.what = "a safetensors header entry is not an object", .where = tensor});
    if (name == kSafetensorsMetadata) {
      for (const auto& [key, value] : info.items()) {
        if (!value.is_string()) fail({.what = "metadata that is not a string", .where = where, .got = key});
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    Entry entry{.type = {.dtype = dtype_of(info, tensor), .shape = shape_of(info, tensor)}};
    std::vector<uint64_t> offsets = numbers_of(info, "data_offsets", tensor);
    CheckedSize bytes = static_cast<uint64_t>(size_bytes(entry.type.dtype));
    for (int64_t extent : entry.type.shape) bytes = bytes * static_cast<uint64_t>(extent);
    uint64_t room = file_.size() - data_start;
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > room)
      fail({.what = "a tensor's data_offsets are outside the file",
            .where = tensor,
            .got = info["data_offsets"].dump(),
            .expected = fmt::format("[begin, end] within 0 to {}", room)});
    if (!bytes.equals(offsets[1] - offsets[0]))
      fail({.what = "a tensor's length is not that of its type",
            .where = tensor,
            .got = fmt::format("{} bytes", offsets[1] - offsets[0]),
            .expected = bytes.ok() ? fmt::format("{} bytes for {}", bytes.value(), to_string(entry.type))
                                   : "a shape that 64 bits can count"});
    entry.begin = data_start + offsets[0], entry.end = data_start + offsets[1];
    tensors_.emplace(name, entry);
  }
}

void SafetensorsFile::check_layout(uint64_t data_start) const {
  std::vector<std::pair<std::string, Entry>> ordered(tensors_.begin(), tensors_.end());
  std::ranges::stable_sort(ordered, {},
                           [](const auto& named) { return std::pair(named.second.begin, named.second.end); });
  uint64_t position = data_start;
  for (const auto& [name, entry] : ordered) {
    if (entry.begin != position)
      fail({.what = entry.begin < position ? "tensors overlap" : "a hole between tensors",
            .where = fmt::format("{}: tensor '{}'", source_, name),
            .got = fmt::format("data at byte {}", entry.begin),
            .expected = fmt::format("byte {}", position)});
    position = entry.end;
  }
  if (position != file_.size())
    fail({.what = "bytes after the last tensor",
          .where = source_,
          .got = fmt::format("{} bytes", file_.size()),
          .expected = fmt::format("{}", position)});
}

void SafetensorsFile::check_hashes() {
  for (auto it = metadata_.begin(); it != metadata_.end();) {
    if (!it->first.starts_with(kSafetensorsHashPrefix)) {
      ++it;
      continue;
    }
    std::string name = it->first.substr(kSafetensorsHashPrefix.size());
    std::string where = fmt::format("{}: tensor '{}'", source_, name);
    if (!contains(name)) fail({.what = "a recorded hash without its tensor", .where = where});
    if (std::string hash = sha256_hex(bytes(name)); hash != it->second)
      fail({.what = "the tensor is not what was written",
            .where = where,
            .got = "SHA-256 " + hash,
            .expected = it->second,
            .hint = "the file is damaged: use another copy or an older checkpoint"});
    it = metadata_.erase(it);
  }
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : tensors_) names.push_back(name);
  return names;
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  auto found = tensors_.find(name);
  if (found == tensors_.end())
    fail({.what = "no such tensor", .where = source_, .got = name, .hint = suggest(name, names())});
  return found->second;
}

const TensorType& SafetensorsFile::type(const std::string& name) const { return entry(name).type; }

ByteSpan SafetensorsFile::bytes(const std::string& name) const {
  const Entry& found = entry(name);
  return ByteSpan(file_).subspan(found.begin, found.end - found.begin);
}

}  // namespace wholestep
