// IDX header and content, checked against each other before anything is allocated.
#include "wholestep/io/idx.h"

#include <fmt/format.h>

#include <array>
#include <limits>

#include "wholestep/base/error.h"
#include "wholestep/io/checked_size.h"
#include "wholestep/io/gzip.h"

namespace wholestep {
namespace {

constexpr uint8_t kUnsignedByte = 0x08;

std::string element_type(uint8_t code) {
  switch (code) {
    case 0x09: return "i8";
    case 0x0B: return "i16";
    case 0x0C: return "i32";
    case 0x0D: return "f32";
    case 0x0E: return "f64";
    default: return fmt::format("unknown type 0x{:02x}", code);
  }
}

uint32_t read_u32(ByteSource& source) {  // big-endian
  std::array<std::byte, 4> bytes{};
  size_t got = source.read(bytes);
  if (got != bytes.size())
    throw Error(ErrorCode::kBadData,
                {.what = "the IDX header is cut off", .where = source.where(), .expected = "4 more bytes"});
  uint32_t value = 0;
  for (std::byte byte : bytes) value = value << 8 | static_cast<uint32_t>(byte);
  return value;
}

Shape read_header(ByteSource& source) {
  std::string start = source.where();
  uint32_t magic = read_u32(source);
  if (magic >> 16 != 0)
    throw Error(ErrorCode::kBadData, {.what = "this is not an IDX file",
                                      .where = start,
                                      .got = fmt::format("magic 0x{:08x}", magic),
                                      .expected = "0x0000 08 RANK, for example 0x00000803"});
  uint8_t type = static_cast<uint8_t>(magic >> 8), rank = static_cast<uint8_t>(magic);
  if (type != kUnsignedByte)
    throw Error(ErrorCode::kBadData, {.what = "unsupported IDX element type",
                                      .where = start,
                                      .got = element_type(type),
                                      .expected = "u8 (0x08)"});
  if (rank < 1 || rank > Shape::kMaxRank)
    throw Error(ErrorCode::kBadData, {.what = "unsupported IDX rank",
                                      .where = start,
                                      .got = std::to_string(rank),
                                      .expected = fmt::format("1 to {}", Shape::kMaxRank)});
  Shape shape;
  for (int axis = 0; axis < rank; ++axis) shape.push_back(read_u32(source));
  return shape;
}

void put_u32(Bytes& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(value >> shift));
}

}  // namespace

IdxArray read_idx(ByteSource& source, uint64_t limit_bytes) {
  IdxArray array{.shape = read_header(source), .values = {}};
  CheckedSize bytes = 1;
  for (int64_t extent : array.shape.extents()) bytes = bytes * static_cast<uint64_t>(extent);
  if (!bytes.fits(limit_bytes))
    throw Error(ErrorCode::kBadData, {.what = "the IDX header asks for too much",
                                      .where = source.where(),
                                      .got = "shape " + to_string(array.shape),
                                      .expected = fmt::format("at most {} bytes", limit_bytes)});
  auto wrong_length = [&](const std::string& got) {
    return Error(ErrorCode::kBadData,
                 {.what = "the IDX content does not have the length its header says",
                  .where = source.where(),
                  .got = got,
                  .expected = fmt::format("{} bytes for shape {}", bytes.value(), to_string(array.shape))});
  };
  if (uint64_t bound = source.remaining_bound(); bytes.value() > bound)
    throw wrong_length(fmt::format("at most {}", bound));
  array.values.resize(bytes.value());
  size_t got = source.read(std::as_writable_bytes(std::span(array.values)));
  if (got != array.values.size()) throw wrong_length(std::to_string(got));
  std::byte extra{};
  if (source.read(std::span(&extra, 1)) != 0) throw wrong_length("more");
  return array;
}

IdxArray read_idx(const std::filesystem::path& path, uint64_t limit_bytes) {
  return read_idx(*open_plain_or_gzip(path), limit_bytes);
}

void write_idx(const std::filesystem::path& path, const Shape& shape, std::span<const uint8_t> values) {
  if (shape.rank() < 1 || static_cast<uint64_t>(shape.numel()) != values.size())
    throw Error(ErrorCode::kUsage, {.what = "values and shape of an IDX array differ",
                                    .got = fmt::format("{} values", values.size()),
                                    .expected = to_string(shape)});
  Bytes header;
  put_u32(header, uint32_t{kUnsignedByte} << 8 | static_cast<uint32_t>(shape.rank()));
  for (int64_t extent : shape) {
    if (extent > std::numeric_limits<uint32_t>::max())
      throw Error(ErrorCode::kUsage, {.what = "extent too large for IDX", .got = std::to_string(extent)});
    put_u32(header, static_cast<uint32_t>(extent));
  }
  if (path.extension() != ".gz") {
    const ByteSpan pieces[] = {header, std::as_bytes(values)};
    return write_file(path, pieces);
  }
  Bytes all = header;
  ByteSpan content = std::as_bytes(values);
  all.insert(all.end(), content.begin(), content.end());
  write_file(path, gzip(all));
}

}  // namespace wholestep
