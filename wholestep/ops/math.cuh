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
}  // namespace math
