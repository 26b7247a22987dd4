// The element-wise table as device functions: the same text as the CPU's loops and the documentation.
#include "math.cuh"
#define UNARY(name, domain, expression, dx) \
  template <class T>                        \
  __device__ T apply_##name(T x) {          \
    return expression;                      \
  }
#define BINARY(name, domain, expression, dx, dy) \
  template <class T>                             \
  __device__ T apply_##name(T x, T y) {          \
    return expression;                           \
  }
#define COMPARE(name, domain, expression) \
  template <class T>                      \
  __device__ T apply_##name(T x, T y) {   \
    return T(expression);                 \
  }
#define TERNARY(name, domain, expression, dx, dy, dz) \
  template <class T>                                  \
  __device__ T apply_##name(T x, T y, T z) {          \
    return expression;                                \
  }
#include "elementwise_table.inc"
#undef UNARY
#undef BINARY
#undef COMPARE
#undef TERNARY
