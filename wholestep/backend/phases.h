// Kernels made of phases, and the one way work is divided: by sizes and constants alone, so that whoever runs
// it, however many there are, computes the same bits.
#pragma once
#include <algorithm>

#include "wholestep/backend/backend.h"
#include "wholestep/base/integers.h"

namespace wholestep {

/// A range of rows (extents of axis 0) or of elements.
struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

/// `total` things in at most `max_chunks` runs of equal length.
struct Split {
  static constexpr int64_t kMaxChunks = 8;
  explicit Split(int64_t total_things, int64_t max_chunks = kMaxChunks)
      : total(total_things), per_chunk(std::max<int64_t>(1, ceil_div(total_things, max_chunks))) {}
  int64_t total, per_chunk;
  int64_t chunks() const { return ceil_div(total, per_chunk); }
  Range operator[](int64_t chunk) const {
    return {chunk * per_chunk, std::min(total, (chunk + 1) * per_chunk)};
  }
};

constexpr uint64_t kAllOperands = ~uint64_t{0};
/// Whether bit `operand` is set; those beyond 64 are set in kAllOperands alone.
constexpr bool has_operand(uint64_t operands, size_t operand) {
  return operand < 64 ? operands >> operand & 1 : operands == kAllOperands;
}

/// About the multiprocessors of a large GPU: so many lanes have one each.
constexpr int64_t kLanesAlone = 132;

/// How one phase of a kernel is divided. Where rows > 0, chunk c reads and writes only its own rows of the
/// operands marked in row_inputs/row_outputs (bit i = operand i). Neighbouring phases with equal `rows` then
/// need no barrier between them: a worker takes its samples through several layers.
struct PhaseExtent {
  int64_t chunks = 1;
  int64_t rows = 0;
  uint64_t row_inputs = 0, row_outputs = 0;
  /// Chunks that share out a row, each with a strip of it: chunk c has strip c % strips of row c / strips.
  /// The operands marked hold the rows, or the strips of them all.
  int64_t strips = 1;
  int64_t chunks_alone = 0;   ///< where it shares its lanes with no other phase; 0: the same
  int64_t stretch_alone = 0;  ///< elements of one of those chunks, of operands as large as the result; 0: any
  bool heavy = false;         ///< a worker has no room for another one's lane beside it
  uint64_t reads = kAllOperands;  ///< inputs it looks at
  bool parts = false;             ///< it leaves nothing but parts of a sum, for a later phase
  bool prompt = false;            ///< so much work that running it later, beside other work, gains nothing
  bool brief = false;             ///< of one chunk, and over before another lane's result could be waited for
};

/// A kernel that is a sequence of phases with barriers between them.
struct PhasedKernel : PreparedKernel {
  virtual size_t phase_count() const = 0;
  virtual PhaseExtent phase(size_t index) const = 0;
};

}  // namespace wholestep
