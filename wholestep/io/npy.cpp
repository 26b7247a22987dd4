// The header is read word by word, in the one form that NumPy writes.
#include "wholestep/io/npy.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstring>

#include "wholestep/base/error.h"
#include "wholestep/io/checked_size.h"

namespace wholestep {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignTo = 64;

struct NpyDType {
  std::string_view descr;
  DType dtype;
};
constexpr std::array<NpyDType, 7> kDTypes = {{{"<f4", DType::f32},
                                              {"<f8", DType::f64},
                                              {"<i4", DType::i32},
                                              {"<i8", DType::i64},
                                              {"|u1", DType::u8},
                                              {"|b1", DType::boolean},
                                              {"<f2", DType::f16}}};

/// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class Header {
 public:
  Header(std::string_view text, const std::string& source) : rest_(text), source_(source) {}

  TensorType type;
  bool column_major = false;

  void read() {
    expect("{");
    for (int key = 0; key < 3; ++key) {
      const std::string_view name = quoted();
      expect(":");
      if (name == "descr") read_dtype();
      else if (name == "fortran_order") column_major = read_flag();
      else if (name == "shape") read_shape();
      else refuse("an unknown key in the header", std::string(name));
      if (!accept(",")) break;
    }
    expect("}");
    skip_space();
    if (!rest_.empty()) refuse("the header does not end where it should", std::string(rest_.substr(0, 20)));
  }

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& got,
                           const std::string& expected = "") {
    throw Error(ErrorCode::kBadData,
                {.what = what, .where = source_, .got = fmt::format("'{}'", got), .expected = expected});
  }
  void skip_space() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n')) rest_.remove_prefix(1);
  }
  bool accept(std::string_view word) {
    skip_space();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  void expect(std::string_view word) {
    if (!accept(word))
      refuse("the header of an npy file is a dict", std::string(rest_.substr(0, 20)), std::string(word));
  }
  std::string_view quoted() {
    expect("'");
    const size_t end = rest_.find('\'');
    if (end == std::string_view::npos) refuse("a quote in the header is not closed", std::string(rest_));
    std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return word;
  }
  void read_dtype() {
    const std::string_view descr = quoted();
    for (const NpyDType& row : kDTypes)
      if (row.descr == descr) return void(type.dtype = row.dtype);
    refuse("an element type that is not read here", std::string(descr),
           "<f2, <f4, <f8, <i4, <i8, |u1 or |b1");
  }
  bool read_flag() {
    if (accept("True")) return true;
    expect("False");
    return false;
  }
  void read_shape() {
    expect("(");
    while (!accept(")")) {
      skip_space();
      int64_t extent = 0;
      auto [stop, failed] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), extent);
      if (failed != std::errc() || extent < 0)
        refuse("an extent is a number", std::string(rest_.substr(0, 20)));
      if (type.shape.rank() == Shape::kMaxRank)
        refuse("too many axes", fmt::format("more than {}", Shape::kMaxRank));
      rest_.remove_prefix(static_cast<size_t>(stop - rest_.data()));
      type.shape.push_back(extent);
      if (accept(",")) continue;
      expect(")");
      break;
    }
  }

  std::string_view rest_;
  std::string source_;
};

/// Elements in column-major order, put into row-major order.
Bytes row_major(ByteSpan from, const TensorType& type) {
  Bytes to(from.size());
  const size_t size = static_cast<size_t>(size_bytes(type.dtype));
  for (int64_t i = 0; i < type.shape.numel(); ++i) {
    int64_t rest = i, at = 0;
    std::array<int64_t, Shape::kMaxRank> index{};
    for (int axis = type.shape.rank() - 1; axis >= 0; rest /= type.shape[axis], --axis)
      index[static_cast<size_t>(axis)] = rest % type.shape[axis];
    for (int axis = type.shape.rank() - 1; axis >= 0; --axis)
      at = at * type.shape[axis] + index[static_cast<size_t>(axis)];
    std::memcpy(to.data() + static_cast<size_t>(i) * size, from.data() + static_cast<size_t>(at) * size,
                size);
  }
  return to;
}

}  // namespace

void write_npy(const std::filesystem::path& path, const TensorType& type, ByteSpan bytes) {
  if (static_cast<int64_t>(bytes.size()) != type.bytes())
    throw Error(ErrorCode::kUsage, {.what = "an array has the bytes of its type",
                                    .where = path.string(),
                                    .got = fmt::format("{} bytes", bytes.size()),
                                    .expected = fmt::format("{} for {}", type.bytes(), to_string(type))});
  std::string_view descr;
  for (const NpyDType& row : kDTypes)
    if (row.dtype == type.dtype) descr = row.descr;
  if (descr.empty())
    throw Error(ErrorCode::kUsage, {.what = "NumPy has no such dtype",
                                    .where = path.string(),
                                    .got = std::string(name(type.dtype)),
                                    .hint = "convert it to f32, or write safetensors"});
  std::string shape;
  for (int64_t extent : type.shape) shape += fmt::format("{}{}", shape.empty() ? "" : ", ", extent);
  if (type.shape.rank() == 1) shape += ",";
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, shape);
  const size_t prefix = kMagic.size() + 4;
  dict.append(kAlignTo - (prefix + dict.size() + 1) % kAlignTo, ' ');
  dict += '\n';
  std::string head(kMagic);
  head += '\x01';
  head += '\x00';
  head += static_cast<char>(dict.size() & 0xFF);
  head += static_cast<char>(dict.size() >> 8);
  const std::array<ByteSpan, 3> pieces = {bytes_of(head), bytes_of(dict), bytes};
  write_file(path, pieces);
}

NpyArray parse_npy(ByteSpan file, const std::string& source) {
  auto refuse = [&](const std::string& what, const std::string& got, const std::string& expected) {
    throw Error(ErrorCode::kBadData, {.what = what, .where = source, .got = got, .expected = expected});
  };
  const std::string_view text = text_of(file);
  const size_t fixed = kMagic.size() + 2;
  if (!text.starts_with(kMagic) || text.size() < fixed + 4)
    refuse("this is not an npy file", fmt::format("{} bytes", text.size()), "\\x93NUMPY and a header");
  const int version = static_cast<uint8_t>(text[kMagic.size()]);
  if (version < 1 || version > 3)
    refuse("an npy version that is not read here", std::to_string(version), "1 to 3");
  const size_t length_bytes = version == 1 ? 2 : 4;
  size_t header_bytes = 0;
  for (size_t i = length_bytes; i-- > 0;)
    header_bytes = header_bytes << 8 | static_cast<uint8_t>(text[fixed + i]);
  const size_t start = fixed + length_bytes;
  if (header_bytes > text.size() - start)
    refuse("the npy header is cut off", fmt::format("{} bytes", text.size() - start),
           std::to_string(header_bytes));
  Header header(text.substr(start, header_bytes), source);
  header.read();
  ByteSpan data = file.subspan(start + header_bytes);
  CheckedSize expected = static_cast<uint64_t>(size_bytes(header.type.dtype));
  for (int64_t extent : header.type.shape) expected = expected * static_cast<uint64_t>(extent);
  if (!expected.equals(data.size()))
    refuse("the elements of an npy file are cut off or too many", fmt::format("{} bytes", data.size()),
           fmt::format("the elements of {}{}", name(header.type.dtype), to_string(header.type.shape)));
  NpyArray array{header.type,
                 header.column_major ? row_major(data, header.type) : Bytes(data.begin(), data.end())};
  if (array.type.dtype == DType::boolean)
    for (std::byte b : array.bytes)
      if (b > std::byte{1})
        refuse("a bool that is neither 0 nor 1", std::to_string(static_cast<int>(b)), "0 or 1");
  return array;
}

NpyArray read_npy(const std::filesystem::path& path, uint64_t limit_bytes) {
  return parse_npy(read_file(path, limit_bytes), path.string());
}

}  // namespace wholestep
