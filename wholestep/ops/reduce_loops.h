// Inner loops of reductions, one set per instruction set. Sums are f64, in an order fixed by n; a maximum is
// NaN where there is one.
#pragma once
#include <cstdint>

#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

template <class T>
struct ReduceLoops {
  double (*sum)(const T* x, int64_t n);
  double (*sum_squares)(const T* x, int64_t n);
  T (*max)(const T* x, int64_t n);  ///< -infinity for none
  // Of `rows` rows x of n elements, `stride` apart, one after the other:
  void (*add_rows)(double* totals, const T* x, int64_t rows, int64_t stride,
                   int64_t n);  ///< totals[i] += x[i]
  void (*max_rows)(T* most, const T* x, int64_t rows, int64_t stride,
                   int64_t n);  ///< most[i]: the larger of both
};

WHOLESTEP_DECLARE_PER_ISA(extern const ReduceLoops<float> kReduceLoopsF32;
                          extern const ReduceLoops<double> kReduceLoopsF64;)

template <class T>
const ReduceLoops<T>& reduce_loops();  ///< of the active instruction set, for float and double

}  // namespace wholestep
