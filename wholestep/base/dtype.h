// Element types of tensors and files.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "wholestep/base/half.h"

namespace wholestep {

enum class DType : uint8_t { f32, f64, i32, i64, u8, boolean, f16, bf16 };

int64_t size_bytes(DType dtype);
std::string_view name(DType dtype);  ///< "f32", "f64", "i32", "i64", "u8", "bool", "f16", "bf16"
std::optional<DType> dtype_from_name(std::string_view text);
/// f16 and bf16, which are stored; ops compute on them in f32.
constexpr bool is_half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }
constexpr bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || is_half(dtype);
}

/// The DType of a C++ element type; bool is stored as one byte, 0 or 1.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::boolean;
};
template <>
struct DTypeOf<Half> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::bf16;
};
template <class T>
constexpr DType kDTypeOf = DTypeOf<T>::value;

[[noreturn]] void throw_not_computed(DType dtype);  ///< kUsage

/// Calls `fn` with a value of the C++ type that is computed in: visit(dtype, [&](auto zero) { using T =
/// decltype(zero); ... }). kUsage for f16 and bf16.
template <class Fn>
decltype(auto) visit(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::f32: return fn(float{});
    case DType::f64: return fn(double{});
    case DType::i32: return fn(int32_t{});
    case DType::i64: return fn(int64_t{});
    case DType::u8: return fn(uint8_t{});
    case DType::f16:
    case DType::bf16: throw_not_computed(dtype);
    case DType::boolean: break;
  }
  return fn(bool{});
}

/// The same for what elements are stored as: f16 and bf16 too.
template <class Fn>
decltype(auto) visit_stored(DType dtype, Fn&& fn) {
  if (dtype == DType::f16) return fn(Half{});
  if (dtype == DType::bf16) return fn(BFloat16{});
  return visit(dtype, fn);
}

}  // namespace wholestep
