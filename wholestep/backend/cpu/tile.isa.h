// The inner loop of matrix products and convolutions: a tile of outputs held in registers while k runs, each
// output a plain sequence of fused multiply-adds in ascending k.
#pragma once
#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {

/// Left operand, element (row, k): rows lie `stride` apart, k consecutive.
struct RowMajor {
  const float* data;
  int64_t stride;
  WHOLESTEP_INLINE float at(int64_t row, int64_t k) const { return data[row * stride + k]; }
};

/// Left operand, element (row, k): rows consecutive, each k `stride` further.
struct KMajor {
  const float* data;
  int64_t stride;
  WHOLESTEP_INLINE float at(int64_t row, int64_t k) const { return data[k * stride + row]; }
};

/// Right operand: the row of index k starts k strides on.
struct Strided {
  const float* data;
  int64_t stride;
  WHOLESTEP_INLINE const float* row(int64_t k) const { return data + k * stride; }
};

/// Right operand: the row of index k starts where a table says, which is how a convolution's taps become
/// rows.
struct Indexed {
  const float* data;
  const int32_t* offsets;
  WHOLESTEP_INLINE const float* row(int64_t k) const { return data + offsets[k]; }
};

/// acc[r][v] += left(r, k) * right(k, v) for k = 0, 1, ..., depth - 1.
template <int Rows, int Vecs, class Left, class Right>
WHOLESTEP_INLINE void accumulate(Left left, Right right, int64_t depth, Vec (&acc)[Rows][Vecs]) {
  for (int64_t k = 0; k < depth; ++k) {
    const float* row = right.row(k);
    Vec b[Vecs];
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) b[v] = load(row + v * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      Vec a = broadcast(left.at(r, k));
#pragma GCC unroll 8
      for (int v = 0; v < Vecs; ++v) acc[r][v] = fma(a, b[v], acc[r][v]);
    }
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
