// The outputs of a convolution cut into vectors: where each vector's inputs lie, and where its lanes go.
#pragma once
#include <cstdint>

namespace wholestep {

/// Outputs as rows in memory, and the distance of two rows in the planes that they are computed from.
struct OutputRows {
  int64_t rows, columns;
  int64_t row_floats;  ///< from one row of the output to the next
  int64_t pitch;       ///< from one row of the planes to the next
};

/// The inputs of a vector start at `base`; what belongs to its outputs are the segments from `segments` to
/// those of the next vector. Where a correlation leaves out taps: those of a channel that it adds.
struct PixelVector {
  int32_t base, segments;
  int32_t first_tap = 0, end_tap = 0;
};
/// Lanes whose bit is set are outputs: lane i lies at `out` + i.
struct PixelSegment {
  int32_t out;
  uint32_t lanes;
};

struct PixelTable {
  PixelVector* vectors;  ///< count + 1
  PixelSegment* segments;
  int64_t count;
};

/// Cuts all outputs into vectors of `width` (at most 16). Vectors run over the ends of rows, dropping lanes
/// between them, unless whole rows fill vectors about as well.
PixelTable make_pixel_table(const OutputRows& outputs, int64_t width, void* memory);
int64_t pixel_vector_count(const OutputRows& outputs, int64_t width);
int64_t pixel_table_bytes(const OutputRows& outputs);  ///< for every width

}  // namespace wholestep
