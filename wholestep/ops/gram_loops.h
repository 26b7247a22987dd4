// Gram matrices: the dot products of all pairs of a few long rows, in f64. One set of loops per instruction
// set.
#pragma once
#include <cstdint>

#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

template <class T>
struct GramLoops {
  /// gram[i * k + j] = the sum over c < columns of x[i * row + c * column] x[j * row + c * column], for i <=
  /// j < k.
  void (*gram)(const T* x, int64_t k, int64_t columns, int64_t row, int64_t column, double* gram,
               void* scratch);
  int64_t (*scratch_bytes)(int64_t k);
};

WHOLESTEP_DECLARE_PER_ISA(extern const GramLoops<float> kGramLoopsF32;
                          extern const GramLoops<double> kGramLoopsF64;)

}  // namespace wholestep
