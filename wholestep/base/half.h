// The two 16-bit floating-point types as storage: they are rounded to and widened from f32, and nothing is
// computed in them.
#pragma once
#include <bit>
#include <cstdint>
#include <type_traits>

namespace wholestep {

/// IEEE 754 binary16: 5 bits of exponent, 10 of mantissa. Rounds to nearest, ties to even; from 65520 on to
/// infinity.
struct Half {
  uint16_t bits = 0;

  Half() = default;
  template <class A>
  requires(!std::is_same_v<A, Half> && std::is_convertible_v<A, float>) explicit Half(A x)
      : bits(rounded(static_cast<float>(x))) {}
  operator float() const {
    uint32_t sign = uint32_t{bits & 0x8000u} << 16, exponent = bits >> 10 & 31u, mantissa = bits & 0x3FFu;
    if (exponent == 0) {  // mantissa * 2^-24, which f32 holds as a normal number
      float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
      return sign ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13);
  }

 private:
  static uint16_t rounded(float x) {
    uint32_t b = std::bit_cast<uint32_t>(x), sign = b >> 16 & 0x8000u, result;
    b &= 0x7FFFFFFFu;
    if (b > 0x7F800000u) result = 0x7E00u;        // not a number
    else if (b >= 0x47800000u) result = 0x7C00u;  // 65536 and more
    else if (b >= 0x38800000u)  // 2^-14 and more: a carry runs into the exponent, up to infinity
      result = (b - (112u << 23) + 0xFFFu + (b >> 13 & 1u)) >> 13;
    else  // below, a multiple of 2^-24, which is the last bit of numbers in [0.5, 1)
      result = std::bit_cast<uint32_t>(std::bit_cast<float>(b) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
    return static_cast<uint16_t>(sign | result);
  }
};

/// bfloat16: the upper half of an f32. Rounds to nearest, ties to even.
struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  template <class A>
  requires(!std::is_same_v<A, BFloat16> && std::is_convertible_v<A, float>) explicit BFloat16(A x)
      : bits(rounded(static_cast<float>(x))) {}
  operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }

 private:
  static uint16_t rounded(float x) {
    uint32_t b = std::bit_cast<uint32_t>(x);
    if ((b & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FC0u;  // not a number
    return static_cast<uint16_t>((b + 0x7FFFu + (b >> 16 & 1u)) >> 16);
  }
};

}  // namespace wholestep
