// safetensors both ways, to the letter of the format: 8 bytes header length, a JSON header, tensors back to
// back. Format: https://github.com/huggingface/safetensors. Files written here carry a SHA-256 per tensor in
// their metadata, which reading checks.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "wholestep/base/shape.h"
#include "wholestep/io/files.h"

namespace wholestep {

struct NamedBytes {
  std::string name;  ///< UTF-8, not empty, not "__metadata__"
  TensorType type;   ///< safetensors names F32 F64 I32 I64 U8 BOOL F16 BF16
  ByteSpan bytes;    ///< row-major, little-endian, type.bytes() of them
};
using StringMap = std::map<std::string, std::string>;

/// Writes the file durably. Tensors lie in order of falling element size, then name, so that each is aligned
/// to its element; equal input gives equal bytes. kUsage for a name used twice or a length that differs from
/// its type's; kIo.
void write_safetensors(const std::filesystem::path& path, std::vector<NamedBytes> tensors,
                       const StringMap& metadata = {});

class SafetensorsFile {
 public:
  /// Reads the whole file and checks all of it. kNoInput, kIo; kBadData naming file and tensor for anything
  /// that breaks the format, a dtype without a counterpart here, or a tensor whose SHA-256 is not the
  /// recorded one.
  static SafetensorsFile open(const std::filesystem::path& path, uint64_t limit_bytes = uint64_t{1} << 40);
  /// The same for a file's bytes; `source` names them in errors.
  static SafetensorsFile parse(Bytes file, const std::string& source);

  std::vector<std::string> names() const;  ///< sorted
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  const TensorType& type(const std::string& name) const;  ///< kBadData where there is no such tensor
  /// The tensor's bytes, valid while this object lives; aligned to the element size in files written here.
  ByteSpan bytes(const std::string& name) const;
  const StringMap& metadata() const { return metadata_; }  ///< without the recorded hashes

 private:
  struct Entry {
    TensorType type;
    uint64_t begin = 0, end = 0;  // offsets in file_
  };
  const Entry& entry(const std::string& name) const;
  void read_header(uint64_t header_bytes);
  void check_layout(uint64_t data_start) const;
  void check_hashes();

  std::string source_;
  Bytes file_;
  std::map<std::string, Entry> tensors_;
  StringMap metadata_;
};

}  // namespace wholestep
