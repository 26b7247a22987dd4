// The arithmetic of vectors that run over the ends of rows.
#include "wholestep/backend/cpu/conv_pixels.h"

#include <algorithm>

#include "wholestep/base/integers.h"

namespace wholestep {
namespace {

constexpr int64_t kNarrowestVector = 4;

// Rows without gaps on both sides are one long row.
OutputRows merged(OutputRows o) {
  if (o.columns == o.pitch && o.columns == o.row_floats) o = {1, o.rows * o.columns, 0, 0};
  return o;
}

struct Cut {
  bool by_row;
  int64_t count, per_row, run;
};
Cut cut(const OutputRows& o, int64_t width) {
  const int64_t run = (o.rows - 1) * o.pitch + o.columns, across = ceil_div(run, width);
  const int64_t per_row = ceil_div(o.columns, width);
  // Vectors that stay within their row are cheaper to store.
  const bool by_row = o.rows * per_row * 20 <= across * 21;
  return {by_row, by_row ? o.rows * per_row : across, per_row, run};
}

uint32_t lanes(int64_t begin, int64_t end) { return (1u << end) - (1u << begin); }

// The outputs in `length` lanes that start at column `column` of row `row`.
PixelSegment* add_segments(const OutputRows& o, int64_t row, int64_t column, int64_t length,
                           PixelSegment* out) {
  for (int64_t lane = 0; lane < length; lane += o.pitch - column, column = 0, ++row) {
    const int64_t end = std::min(length, lane + o.columns - column);
    if (end > lane) *out++ = {static_cast<int32_t>(row * o.row_floats + column - lane), lanes(lane, end)};
    if (o.rows == 1) break;
  }
  return out;
}

}  // namespace

PixelTable make_pixel_table(const OutputRows& outputs, int64_t width, void* memory) {
  const OutputRows o = merged(outputs);
  const Cut c = cut(o, width);
  PixelTable table = {static_cast<PixelVector*>(memory), nullptr, c.count};
  table.segments = reinterpret_cast<PixelSegment*>(table.vectors + c.count + 1);
  PixelSegment* next = table.segments;
  int64_t row = 0, column = 0;
  for (int64_t i = 0; i < c.count; ++i) {
    const int64_t base = row * o.pitch + column;
    table.vectors[i] = {.base = static_cast<int32_t>(base),
                        .segments = static_cast<int32_t>(next - table.segments)};
    next = add_segments(o, row, column, std::min(width, c.by_row ? o.columns - column : c.run - base), next);
    column += width;
    if (c.by_row) {
      if (column >= o.columns) column = 0, ++row;
    } else if (o.rows > 1) {
      while (column >= o.pitch) column -= o.pitch, ++row;
    }
  }
  table.vectors[c.count] = {.base = 0, .segments = static_cast<int32_t>(next - table.segments)};
  return table;
}

int64_t pixel_vector_count(const OutputRows& outputs, int64_t width) {
  return cut(merged(outputs), width).count;
}

int64_t pixel_table_bytes(const OutputRows& outputs) {
  const OutputRows o = merged(outputs);
  int64_t most = 0;
  for (int64_t width = kNarrowestVector; width <= 16; width *= 2) most = std::max(most, cut(o, width).count);
  // A vector has one segment, and one more for every row that begins in it.
  return (most + 1) * static_cast<int64_t>(sizeof(PixelVector)) +
         (most + o.rows) * static_cast<int64_t>(sizeof(PixelSegment));
}

}  // namespace wholestep
