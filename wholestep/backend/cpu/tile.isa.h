// The inner loop of matrix products and convolutions: a tile of outputs held in registers while k runs, each
// output a plain sequence of fused multiply-adds in ascending k.
#pragma once
#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {

/// A length cut into pieces of at most `most`, as equal as can be: 32 rows are better cut into 10 + 11 + 11
/// than into 14 + 14 + 4.
struct Pieces {
  Pieces(int64_t all, int64_t most)
      : count(all == 0 ? 1 : (all + most - 1) / most), each(all / count), longer(all % count) {}
  int64_t begin(int64_t piece) const { return piece * each + (piece < longer ? piece : longer); }
  int64_t size(int64_t piece) const { return each + (piece < longer ? 1 : 0); }
  int64_t largest() const { return size(0); }
  int64_t length() const { return begin(count); }
  int64_t count, each, longer;  ///< so many pieces of `each`, the first `longer` of them one more
};

/// The tallest tile by width in vectors: as many sums as the register file holds beside a row of the right
/// operand. Tiles of up to kWidest vectors are the fastest; four are for products with fewer rows than a tile
/// has.
#if WHOLESTEP_ISA_avx512
constexpr int kMaxRows[5] = {0, 12, 10, 8, 6}, kWidest = 3, kMostWeightSums = 24;
#elif WHOLESTEP_ISA_avx2
constexpr int kMaxRows[5] = {0, 12, 6, 4, 2}, kWidest = 2, kMostWeightSums = 12;
#else
constexpr int kMaxRows[5] = {0, 8, 4, 2, 2}, kWidest = 2, kMostWeightSums = 10;
#endif

/// The same for tiles of few channels: how many vectors wide by number of channels.
#if WHOLESTEP_ISA_avx512
constexpr int kMostChannels = 8, kMostVectors[9] = {0, 8, 8, 7, 6, 5, 4, 3, 3};
#elif WHOLESTEP_ISA_avx2
constexpr int kMostChannels = 6, kMostVectors[7] = {0, 6, 4, 4, 3, 2, 2};
#else
constexpr int kMostChannels = 4, kMostVectors[5] = {0, 6, 4, 3, 2};
#endif

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

/// Right operand: index k's row of vectors starts k strides on.
struct Strided {
  const float* data;
  int64_t stride;
  WHOLESTEP_INLINE Vec vector(int64_t k, int64_t v) const { return load(data + k * stride + v * kWidth); }
};

/// Right operand: every vector has a base, and a table says how far from it index k lies. This is how the
/// taps of a convolution become the rows of a matrix.
template <int Vecs>
struct Scattered {
  const float* base[Vecs];
  const int32_t* offsets;
  WHOLESTEP_INLINE Vec vector(int64_t k, int64_t v) const { return load(base[v] + offsets[k]); }
};

/// acc[r][v] += left(r, k) * right(k, v) for k = 0, 1, ..., depth - 1.
template <int Rows, int Vecs, class Left, class Right>
WHOLESTEP_INLINE void accumulate(const Left& left, const Right& right, int64_t depth,
                                 Vec (&acc)[Rows][Vecs]) {
  for (int64_t k = 0; k < depth; ++k) {
    Vec b[Vecs];
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) b[v] = right.vector(k, v);
#pragma GCC unroll 32
    for (int r = 0; r < Rows; ++r) {
      Vec a = broadcast(left.at(r, k));
#pragma GCC unroll 8
      for (int v = 0; v < Vecs; ++v) acc[r][v] = fma(a, b[v], acc[r][v]);
    }
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
