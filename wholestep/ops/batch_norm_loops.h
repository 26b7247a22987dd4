// Inner loops of batch normalisation, one set per instruction set. Sums are f64, in an order fixed by n.
#pragma once
#include <cstdint>

#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

template <class T>
struct BatchNormLoops {
  /// sums[0] += sum of x - shift, sums[1] += sum of its square.
  void (*moments)(const T* x, int64_t n, double shift, double* sums);
  /// sums[0] += sum of g, sums[1] += sum of g (x - mean).
  void (*products)(const T* g, const T* x, int64_t n, double mean, double* sums);
  /// y = (x - mean) scale + beta.
  void (*normalize)(const T* x, int64_t n, T mean, T scale, T beta, T* y);
  /// dx = (g - offset - (x - mean) slope) scale.
  void (*gradient)(const T* g, const T* x, int64_t n, T mean, T offset, T slope, T scale, T* dx);
};

WHOLESTEP_DECLARE_PER_ISA(extern const BatchNormLoops<float> kBatchNormLoopsF32;
                          extern const BatchNormLoops<double> kBatchNormLoopsF64;)

template <class T>
const BatchNormLoops<T>& batch_norm_loops();  ///< of the active instruction set, for float and double

}  // namespace wholestep
