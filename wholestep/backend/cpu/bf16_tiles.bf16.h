// Products of bf16 with sums in f32, in tiles of 16 x 16 sums, and how f32 operands become tiles: rounded to
// nearest even as they are packed. Files named *.bf16.cpp are compiled for AMX and for AVX-512 BF16 alone.
#pragma once
#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {

// A tile of A: [16 rows][32 k]; of B: [16 pairs of k][16 columns][2]. Both are 1 KB, and so is one of sums.
constexpr int64_t kTile = 16, kTileDepth = 32, kTileBytes = 1024;
constexpr int64_t kBlock = 2 * kTile;  ///< rows and columns of the sums that are kept in registers together

/// A tile as it lies in memory: 16 vectors.
using Bits = __m512i;
WHOLESTEP_INLINE void store_bits(void* to, Bits bits) { __builtin_memcpy(to, &bits, sizeof bits); }
WHOLESTEP_INLINE Bits load_bits(const void* from) {
  Bits bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  return bits;
}

/// `low` and then `high`, rounded.
WHOLESTEP_INLINE Bits rounded(Vec low, Vec high) {
  return reinterpret_cast<Bits>(_mm512_cvtne2ps_pbh(high, low));
}
/// (even[0], odd[0]), (even[1], odd[1]), ... rounded.
WHOLESTEP_INLINE Bits rounded_pairs(Vec even, Vec odd) {
  const Bits alternately = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                            7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(alternately, rounded(even, odd));
}
/// Transposes 16 x 16 pairs.
WHOLESTEP_INLINE void transpose_pairs(Bits (&rows)[kTile]) {
  Vec square[kTile];
#pragma GCC unroll 16
  for (int i = 0; i < kTile; ++i) square[i] = reinterpret_cast<Vec>(rows[i]);
  transpose(square);
#pragma GCC unroll 16
  for (int i = 0; i < kTile; ++i) rows[i] = reinterpret_cast<Bits>(square[i]);
}
/// The first n of 16 floats, zeros behind them; n may be anything.
WHOLESTEP_INLINE Vec load_some(const float* from, int64_t n) {
  return n >= kWidth ? load(from) : n <= 0 ? zero() : load_first(from, n);
}

/// c [32, 32] = A B over `steps` times 32 k, or the part of it that has row_tiles x column_tiles (1 or 2)
/// tiles. Tiles of one row or column follow one another step by step.
struct TileProduct {
  const char* a;
  int64_t a_bytes;  ///< from one row of tiles to the next
  const char* b;
  int64_t b_bytes;  ///< from one column of tiles to the next
  int64_t steps;
  float* c;
  int64_t ldc;
  bool resume;  ///< go on from the sums in c instead of zero
  int row_tiles, column_tiles;
};
/// The order of a sum follows from k alone: the pairs of every step in turn, on AMX the even and the odd ones
/// of a step by themselves. The definition lies in another file on purpose: to the compiler AMX loads read no
/// memory.
void multiply(const TileProduct& product);

/// Products are made while one lives: it sets the registers of this thread up.
class TileRegisters {
 public:
  TileRegisters();
  ~TileRegisters();
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

}  // namespace wholestep::WHOLESTEP_ISA
