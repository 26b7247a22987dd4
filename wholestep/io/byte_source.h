// A stream of bytes of known bounds: a file, bytes in memory, or either of them unpacked. Readers ask it how
// much can still come before they allocate.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "wholestep/io/files.h"

namespace wholestep {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `out`; the count is smaller than out.size() only at the end. kIo, kBadData (packed data).
  virtual size_t read(std::span<std::byte> out) = 0;
  /// No more than this many bytes can still come: exact for plain data, a bound for packed data.
  virtual uint64_t remaining_bound() const = 0;
  /// Where the stream stands, for messages: "train.gz: byte 16".
  virtual std::string where() const = 0;
};

/// Plain bytes. `bytes` must outlive the source; `name` stands for them in messages.
std::unique_ptr<ByteSource> open_bytes(ByteSpan bytes, std::string name);

/// A file, unpacked while it is read where its first bytes are gzip's magic. kNoInput, kIo.
std::unique_ptr<ByteSource> open_plain_or_gzip(const std::filesystem::path& path);

/// The same for bytes in memory.
std::unique_ptr<ByteSource> open_plain_or_gzip(ByteSpan bytes, std::string name);

}  // namespace wholestep
