// How the CPU cuts a sum of squares: into blocks, each summed by itself, whose sums are then added in order.
// Blocks lie within the rows of a matrix, so one that is made tile by tile and never stored gives the bits of
// a stored one.
#pragma once
#include <algorithm>

#include "wholestep/backend/phases.h"
#include "wholestep/base/shape.h"

namespace wholestep {

/// Several whole rows a block, or a part of one where rows are long; neighbours in memory either way. Blocks
/// lie within chunks of rows where that takes blocks of half the size at least.
struct SquareBlocks {
  static constexpr int64_t kElements = 1024;
  explicit SquareBlocks(const Shape& shape)
      : rows(shape.rank() > 0 ? shape[0] : 1),
        columns(rows > 0 ? shape.numel() / rows : 0),
        block_rows(rows_of_block(rows, std::max<int64_t>(1, kElements / std::max<int64_t>(columns, 1)))),
        block_columns(std::min(columns, kElements)) {}
  int64_t rows, columns, block_rows, block_columns;

  int64_t across() const { return block_columns > 0 ? ceil_div(columns, block_columns) : 0; }
  int64_t count() const { return ceil_div(rows, block_rows) * across(); }
  /// The block that begins there.
  int64_t index(int64_t row, int64_t column) const {
    return row / block_rows * across() + column / block_columns;
  }
  bool within(const Split& chunks) const {
    return chunks.per_chunk % block_rows == 0 || chunks.chunks() <= 1;
  }

  static int64_t rows_of_block(int64_t rows, int64_t most) {
    const int64_t chunk = Split(rows).per_chunk;
    for (int64_t fewer = most; 2 * fewer >= most; --fewer)
      if (chunk % fewer == 0) return fewer;
    return most;
  }
};

}  // namespace wholestep
