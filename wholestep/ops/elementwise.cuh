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

// How a block divides elements; RUN(begin, end, operands...) is a program's.

/// A stretch of N elements.
template <auto RUN, int64_t STRETCH, int64_t N, class... Operands>
__device__ void elements_of_stretch(Lane lane, Operands... operands) {
  const int64_t begin = lane.chunk * STRETCH, end = begin + STRETCH;
  RUN(begin, end < N ? end : N, operands...);
}
/// Its rows of LENGTH elements.
template <auto RUN, int64_t ROWS, int64_t LENGTH, class... Operands>
__device__ void elements_of_rows(Lane lane, Operands... operands) {
  const Range r = rows_of<ROWS>(lane);
  RUN(r.begin * LENGTH, r.end * LENGTH, operands...);
}
