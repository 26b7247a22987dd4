// Matrices in f32 as tiles of bf16, zero where a tile goes beyond its matrix.
#pragma once
#include "wholestep/backend/cpu/bf16_tiles.bf16.h"
#include "wholestep/backend/cpu/gemm_pack.isa.h"

namespace wholestep::WHOLESTEP_ISA {

WHOLESTEP_INLINE int64_t tiles_of(int64_t extent) { return (extent + kTile - 1) / kTile; }
WHOLESTEP_INLINE int64_t steps_of(int64_t depth) { return (depth + kTileDepth - 1) / kTileDepth; }

/// 16 rows of tiles, or 16 columns transposed, of a matrix whose rows are contiguous along k: `tile[i]` has k
/// [0, 32) of row i.
WHOLESTEP_INLINE void load_rows(const Matrix& m, int64_t rows, int64_t depth, Bits (&tile)[kTile]) {
  if (rows >= kTile && depth >= kTileDepth) {
#pragma GCC unroll 16
    for (int i = 0; i < kTile; ++i)
      tile[i] = rounded(load(m.data + i * m.row), load(m.data + i * m.row + kWidth));
    return;
  }
  for (int i = 0; i < kTile; ++i) {
    const float* row = m.data + i * m.row;
    tile[i] = i < rows ? rounded(load_some(row, depth), load_some(row + kWidth, depth - kWidth))
                       : rounded(zero(), zero());
  }
}
/// The same of a matrix that is contiguous across rows: `tile[p]` has k 2 p and 2 p + 1 of rows [0, 16).
WHOLESTEP_INLINE void load_pairs(const Matrix& m, int64_t rows, int64_t depth, Bits (&tile)[kTile]) {
  if (rows >= kTile && depth >= kTileDepth) {
#pragma GCC unroll 16
    for (int p = 0; p < kTile; ++p)
      tile[p] = rounded_pairs(load(m.data + 2 * p * m.column), load(m.data + (2 * p + 1) * m.column));
    return;
  }
  for (int p = 0; p < kTile; ++p) {
    const float* even = m.data + 2 * p * m.column;
    tile[p] = rounded_pairs(2 * p < depth ? load_some(even, rows) : zero(),
                            2 * p + 1 < depth ? load_some(even + m.column, rows) : zero());
  }
}
WHOLESTEP_INLINE void store_tile(const Bits (&tile)[kTile], char* to) {
#pragma GCC unroll 16
  for (int i = 0; i < kTile; ++i) store_bits(to + i * 64, tile[i]);
}

/// Tiles of A from m [rows, depth]: tile (i, step) is the (i * steps + step)th.
inline void pack_a(const Matrix& m, int64_t rows, int64_t depth, char* out) {
  const bool transposed = m.column != 1;
  for (int64_t i = 0; i < rows; i += kTile)
    for (int64_t k = 0; k < depth; k += kTileDepth, out += kTileBytes) {
      Bits tile[kTile];
      if (transposed) {
        load_pairs(m.at(i, k), rows - i, depth - k, tile);
        transpose_pairs(tile);
      } else {
        load_rows(m.at(i, k), rows - i, depth - k, tile);
      }
      store_tile(tile, out);
    }
}

/// Tiles of B from m [depth, columns]: tile (step, j) is the (j * steps + step)th.
inline void pack_b(const Matrix& m, int64_t depth, int64_t columns, char* out) {
  const Matrix across = m.transposed();
  const int64_t column_bytes = steps_of(depth) * kTileBytes;
  const bool transposed = m.column != 1;
  for (int64_t k = 0; k < depth; k += kTileDepth, out += kTileBytes)
    for (int64_t j = 0; j < columns; j += kTile) {
      Bits tile[kTile];
      if (transposed) {
        load_rows(across.at(j, k), columns - j, depth - k, tile);
        transpose_pairs(tile);
      } else {
        load_pairs(across.at(j, k), columns - j, depth - k, tile);
      }
      store_tile(tile, out + j / kTile * column_bytes);
    }
}

}  // namespace wholestep::WHOLESTEP_ISA
