// The constants of the safetensors format that its reader and writer share.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "wholestep/base/dtype.h"

namespace wholestep {

constexpr uint64_t kSafetensorsPrefixBytes = 8;
constexpr uint64_t kSafetensorsMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr std::string_view kSafetensorsMetadata = "__metadata__";
constexpr std::string_view kSafetensorsHashPrefix = "sha256:";  // metadata key "sha256:NAME", ours

struct SafetensorsDType {
  std::string_view name;
  DType dtype;
};
constexpr std::array<SafetensorsDType, 8> kSafetensorsDTypes = {{{"F32", DType::f32},
                                                                 {"F64", DType::f64},
                                                                 {"I32", DType::i32},
                                                                 {"I64", DType::i64},
                                                                 {"U8", DType::u8},
                                                                 {"BOOL", DType::boolean},
                                                                 {"F16", DType::f16},
                                                                 {"BF16", DType::bf16}}};

}  // namespace wholestep
