// Elementary functions that the compiler vectorises: straight-line f32 arithmetic, no tables, no branches.
// Every instruction set's copy gives the same bits. For other types they are the C library's. The polynomials
// are minimax fits of the expressions named beside them.
#pragma once
#include <cmath>
#include <cstdint>

namespace wholestep::WHOLESTEP_ISA::math {

template <class T>
auto exp(T x) {
  return std::exp(x);
}
template <class T>
auto tanh(T x) {
  return std::tanh(x);
}
template <class T>
auto erf(T x) {
  return std::erf(x);
}

/// Within 1 unit in the last place: infinity above 88.72, subnormal below -87.33, NaN stays NaN.
/// exp(x) = 2^n exp(r) with n = round(x / ln 2), |r| <= ln(2) / 2.
inline float exp(float x) {
  constexpr float kMagic = 12582912;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;  // the first is short: n * it is exact
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  float shifted = x * 1.44269504f + kMagic, n = shifted - kMagic;
  float r = x - n * kLn2High - n * kLn2Low;
  float p = 0.0013814539f;  // (exp(r) - 1 - r) / r^2
  p = p * r + 0.008368745f;
  p = p * r + 0.04166839f;
  p = p * r + 0.16666521f;
  p = p * r + 0.49999994f;
  p = p * r * r + r + 1.0f;
  // 2^n in two steps, since 2^128 and 2^-149 are no normal numbers.
  int32_t exponent = __builtin_bit_cast(int32_t, shifted) - __builtin_bit_cast(int32_t, kMagic);
  int32_t half = exponent >> 1, rest = exponent - half;
  return p * __builtin_bit_cast(float, (half + 127) << 23) * __builtin_bit_cast(float, (rest + 127) << 23);
}

/// Within 3 units in the last place.
inline float tanh(float x) {
  float size = x < 0.0f ? -x : x, square = x * x;
  float p = -0.0058951587f;  // (tanh(x) - x) / x^3 for |x| < 0.6
  p = p * square + 0.020795971f;
  p = p * square - 0.05378383f;
  p = p * square + 0.13331924f;
  p = p * square - 0.333333f;
  float near = p * square * x + x;
  float far = 1.0f - 2.0f / (exp(2.0f * size) + 1.0f);
  far = x < 0.0f ? -far : far;
  return size < 0.6f ? near : far;
}

/// Within 3 units in the last place.
inline float erf(float x) {
  float size = x < 0.0f ? -x : x, square = x * x;
  float p = 7.8538826e-05f;  // erf(x) / x for |x| < 1
  p = p * square - 0.00080102007f;
  p = p * square + 0.0051883287f;
  p = p * square - 0.026853813f;
  p = p * square + 0.112835854f;
  p = p * square - 0.37612626f;
  p = p * square + 1.1283791f;
  float near = p * x;
  float clipped = size > 4.0f ? 4.0f : size;
  float q = -0.00019242513f;  // -ln(1 - erf(x)) for 0.95 < x < 4
  q = q * clipped + 0.0030085286f;
  q = q * clipped - 0.02208761f;
  q = q * clipped + 0.10364026f;
  q = q * clipped + 0.6375171f;
  q = q * clipped + 1.1274749f;
  q = q * clipped + 0.000244723f;
  float far = 1.0f - exp(-q);
  far = x < 0.0f ? -far : far;
  return size < 1.0f ? near : far;
}

}  // namespace wholestep::WHOLESTEP_ISA::math
