// How the CPU cuts a sum of squares: into blocks, each summed by itself, whose sums are then added in order.
// Blocks lie within the rows of a matrix, so one that is made tile by tile and never stored gives the bits of
// a stored one.
#pragma once
#include <algorithm>

#include "wholestep/base/integers.h"
#include "wholestep/base/shape.h"

namespace wholestep {

/// Several whole rows a block, or a part of one where rows are long; neighbours in memory either way.
struct SquareBlocks {
  static constexpr int64_t kElements = 1024;
  explicit SquareBlocks(const Shape& shape)
      : rows(shape.rank() > 0 ? shape[0] : 1),
        columns(rows > 0 ? shape.numel() / rows : 0),
        block_rows(std::max<int64_t>(1, kElements / std::max<int64_t>(columns, 1))),
        block_columns(std::min(columns, kElements)) {}
  int64_t rows, columns, block_rows, block_columns;

  int64_t across() const { return block_columns > 0 ? ceil_div(columns, block_columns) : 0; }
  int64_t count() const { return ceil_div(rows, block_rows) * across(); }
  /// The block that begins there.
  int64_t index(int64_t row, int64_t column) const {
    return row / block_rows * across() + column / block_columns;
  }
};

}  // namespace wholestep
