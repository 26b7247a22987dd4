// The elementary functions of the CPU's loops (math.isa.h) as CUDA's own, which use the units the device has for them:
// exp and tanh within 2, erf within 2 units in the last place (CUDA C++ Programming Guide, mathematical functions).
#pragma once
namespace math {
template <class T>
__device__ T exp(T x) {
  return ::exp(x);
}
template <class T>
__device__ T tanh(T x) {
  return ::tanh(x);
}
template <class T>
__device__ T erf(T x) {
  return ::erf(x);
}

/// x / y to the bit. The operator leaves its fast way where x is zero or close to it, as the moments of a unit that is dead
/// stay for good, and its warp waits.
__device__ inline float divide(float x, float y) {
  const bool tiny = fabsf(x) < 0x1p-96f;
  const float quotient = (x == 0 ? 1.0f : tiny ? x * 0x1p96f : x) / y;
  if (!tiny) return quotient;
  if (!(fabsf(quotient) >= 0x1p-28f && fabsf(quotient) <= 0x1p127f)) return x / y;  // not rounded twice
  return quotient * (x == 0 ? x : 0x1p-96f);
}
/// The same of the square root.
__device__ inline float square_root(float x) {
  const bool tiny = x < 0x1p-96f;
  const float root = ::sqrtf(x == 0 ? 1.0f : tiny ? x * 0x1p96f : x);
  return x == 0 ? x : tiny ? root * 0x1p-48f : root;
}
}  // namespace math
