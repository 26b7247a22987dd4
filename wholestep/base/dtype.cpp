// Names and sizes of element types, one row each.
#include "wholestep/base/dtype.h"

#include <array>
#include <string>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

struct Row {
  DType dtype;
  std::string_view name;
  int64_t bytes;
};
constexpr std::array<Row, 8> kRows = {{{DType::f32, "f32", 4},
                                       {DType::f64, "f64", 8},
                                       {DType::i32, "i32", 4},
                                       {DType::i64, "i64", 8},
                                       {DType::u8, "u8", 1},
                                       {DType::boolean, "bool", 1},
                                       {DType::f16, "f16", 2},
                                       {DType::bf16, "bf16", 2}}};

}  // namespace

int64_t size_bytes(DType dtype) { return kRows[static_cast<size_t>(dtype)].bytes; }
std::string_view name(DType dtype) { return kRows[static_cast<size_t>(dtype)].name; }

std::optional<DType> dtype_from_name(std::string_view text) {
  for (const Row& row : kRows)
    if (row.name == text) return row.dtype;
  return std::nullopt;
}

void throw_not_computed(DType dtype) {
  throw Error(ErrorCode::kUsage, {.what = "this is computed in wider types only",
                                  .got = std::string(name(dtype)),
                                  .expected = "f32 or f64",
                                  .hint = "cast() first"});
}

}  // namespace wholestep
