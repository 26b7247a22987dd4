// Copies of matrix blocks in the order in which the tiles read them.
#pragma once
#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {

/// A view: element (i, j) is data[i * row + j * column], and one of the strides is 1.
struct Matrix {
  const float* data;
  int64_t row, column;
  WHOLESTEP_INLINE Matrix at(int64_t i, int64_t j) const {
    return {data + i * row + j * column, row, column};
  }
  WHOLESTEP_INLINE Matrix transposed() const { return {data, column, row}; }
};

WHOLESTEP_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
WHOLESTEP_INLINE int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/// out[i * stride + j] = from(i, j), where j is contiguous in `from`.
inline void copy_rows(const Matrix& from, int64_t rows, int64_t columns, float* out, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* row = from.data + i * from.row;
    int64_t j = 0;
    for (; j + kWidth <= columns; j += kWidth) store(out + i * stride + j, load(row + j));
    if (j < columns) store_first(out + i * stride + j, load_first(row + j, columns - j), columns - j);
  }
}

/// out[j * stride + i] = from(i, j), where j is contiguous in `from`, for i < out_rows; zero for i >= rows.
inline void copy_transposed(const Matrix& from, int64_t rows, int64_t columns, int64_t out_rows, float* out,
                            int64_t stride) {
  for (int64_t i = 0; i < out_rows; i += kWidth) {
    for (int64_t j = 0; j < columns; j += kWidth) {
      const float* block = from.data + i * from.row + j;
      const int64_t height = smaller(kWidth, rows - i), width = smaller(kWidth, columns - j);
      Vec square[kWidth];
      if (height == kWidth && width == kWidth) {
#pragma GCC unroll 16
        for (int r = 0; r < kWidth; ++r) square[r] = load(block + r * from.row);
      } else {
#pragma GCC unroll 16
        for (int r = 0; r < kWidth; ++r)
          square[r] = r < height ? load_first(block + r * from.row, width) : zero();
      }
      transpose(square);
      const int64_t lanes = smaller(kWidth, out_rows - i);
#pragma GCC unroll 16
      for (int c = 0; c < kWidth; ++c)
        if (c < width) store_first(out + (j + c) * stride + i, square[c], lanes);
    }
  }
}

/// A panel of B for tiles of `vecs` vectors: out[k * vecs * kWidth + j] = b(k, j), zero from `columns` on.
[[gnu::noinline]] inline void pack_panel(const Matrix& b, int64_t depth, int64_t columns, int64_t vecs,
                                         float* out) {
  const int64_t stride = vecs * kWidth;
  if (b.column != 1) return copy_transposed(b.transposed(), columns, depth, stride, out, stride);
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t j = 0; j < stride; j += kWidth) {
      int64_t lanes = smaller(kWidth, columns - j);
      Vec row = lanes == kWidth ? load(b.data + k * b.row + j) : load_first(b.data + k * b.row + j, lanes);
      store(out + k * stride + j, row);
    }
}

/// All panels `wide` floats across, one after another, of a B whose rows are contiguous: the panel from
/// column j on is at out + j * depth.
[[gnu::noinline]] inline void pack_panels(const Matrix& b, int64_t depth, int64_t columns, int64_t wide,
                                          float* out) {
  for (int64_t k = 0; k < depth; ++k) {
    const float* row = b.data + k * b.row;
    for (int64_t j = 0; j < columns; j += wide) {
      const int64_t width = smaller(wide, columns - j), whole = round_up(width, kWidth);
      float* to = out + j * depth + k * whole;
      int64_t i = 0;
      for (; i + kWidth <= width; i += kWidth) store(to + i, load(row + j + i));
      if (i < width) store(to + i, load_first(row + j + i, width - i));
    }
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
