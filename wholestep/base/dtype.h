// Element types of tensors and files.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace wholestep {

enum class DType : uint8_t { f32, f64, i32, i64, u8, boolean };

int64_t size_bytes(DType dtype);
std::string_view name(DType dtype);  ///< "f32", "f64", "i32", "i64", "u8", "bool"
std::optional<DType> dtype_from_name(std::string_view text);
constexpr bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

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
template <class T>
constexpr DType kDTypeOf = DTypeOf<T>::value;

/// Calls `fn` with a value of the C++ type of `dtype`: visit(dtype, [&](auto zero) { using T =
/// decltype(zero); ... }).
template <class Fn>
decltype(auto) visit(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::f32: return fn(float{});
    case DType::f64: return fn(double{});
    case DType::i32: return fn(int32_t{});
    case DType::i64: return fn(int64_t{});
    case DType::u8: return fn(uint8_t{});
    case DType::boolean: break;
  }
  return fn(bool{});
}

}  // namespace wholestep
