// IDX, the format of MNIST: a big-endian header (0, 0, element type, rank, one 32-bit extent per axis), then
// the elements. Only unsigned bytes are read and written.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "wholestep/base/shape.h"
#include "wholestep/io/byte_source.h"

namespace wholestep {

struct IdxArray {
  Shape shape;
  std::vector<uint8_t> values;  ///< row-major, shape.numel() of them
};

/// Reads a file, plain or gzip by content. kNoInput, kIo; kBadData naming file and byte for a wrong magic, an
/// element type other than u8, and content longer or shorter than the header says.
IdxArray read_idx(const std::filesystem::path& path, uint64_t limit_bytes = uint64_t{1} << 34);
IdxArray read_idx(ByteSource& source, uint64_t limit_bytes = uint64_t{1} << 34);

/// Writes `values`, shape.numel() of them, durably; packed where the name ends in .gz. kUsage where the
/// counts differ or an extent exceeds 32 bits; kIo.
void write_idx(const std::filesystem::path& path, const Shape& shape, std::span<const uint8_t> values);

}  // namespace wholestep
