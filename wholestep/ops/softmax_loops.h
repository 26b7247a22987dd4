// Inner loops of softmax, one set per instruction set.
#pragma once
#include <cstdint>

#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

template <class T>
struct SoftmaxLoops {
  T (*largest)(const T* x, int64_t n);                        ///< n >= 1; which of NaNs and numbers is open
  void (*exponentials)(const T* x, int64_t n, T top, T* e);   ///< e[i] = exp(x[i] - top)
  void (*scale)(T* y, int64_t n, T factor);                   ///< y[i] *= factor
  void (*shift)(const T* x, int64_t n, T top, T rest, T* y);  ///< y[i] = x[i] - top - rest
};

WHOLESTEP_DECLARE_PER_ISA(extern const SoftmaxLoops<float> kSoftmaxLoopsF32;
                          extern const SoftmaxLoops<double> kSoftmaxLoopsF64;)

}  // namespace wholestep
