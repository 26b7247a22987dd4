// What a CPU kernel hands over when it is prepared: phases, each split into chunks by sizes and constants
// alone, so that any number of threads computes the same bits. Between two phases of a call lies a barrier,
// unless both are split by rows.
#pragma once
#include <algorithm>
#include <memory>

#include "wholestep/backend/backend.h"

namespace wholestep {

/// Operand addresses of one call, in the op's operand order.
struct CpuArgs {
  const void* const* inputs;
  void* const* outputs;
  std::byte* workspace;

  template <class T>
  const T* in(int i) const {
    return static_cast<const T*>(inputs[i]);
  }
  template <class T>
  T* out(int i) const {
    return static_cast<T*>(outputs[i]);
  }
};

/// A range of rows (extents of axis 0) or of elements.
struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

/// The one way work is divided: `total` things into at most kMaxChunks runs of equal length, a function of
/// `total` alone.
struct Split {
  static constexpr int64_t kMaxChunks = 8;
  explicit Split(int64_t total_things, int64_t max_chunks = kMaxChunks)
      : total(total_things), per_chunk(std::max<int64_t>(1, (total_things + max_chunks - 1) / max_chunks)) {}
  int64_t total, per_chunk;
  int64_t chunks() const { return (total + per_chunk - 1) / per_chunk; }
  Range operator[](int64_t chunk) const {
    return {chunk * per_chunk, std::min(total, (chunk + 1) * per_chunk)};
  }
};

struct CpuPhase {
  int64_t chunks = 1;
  /// Where rows > 0, chunk c reads and writes only rows Split(rows)[c] of the operands marked in
  /// row_inputs/row_outputs (bit i = operand i). Neighbouring phases with equal `rows` then need no barrier
  /// between them: a worker takes its samples through several layers while they are in its cache.
  int64_t rows = 0;
  uint64_t row_inputs = 0, row_outputs = 0;
  std::function<void(const CpuArgs&, int64_t chunk)> run = {};
};

struct CpuCall final : PreparedKernel {
  std::vector<CpuPhase> phases;
};

constexpr uint64_t kAllOperands = ~uint64_t{0};

/// A call of one phase with one chunk.
std::unique_ptr<CpuCall> serial_call(std::function<void(const CpuArgs&)> run);
/// A call of one phase split over the rows of the operands marked: run(args, rows).
std::unique_ptr<CpuCall> row_call(int64_t rows, uint64_t row_inputs, uint64_t row_outputs,
                                  std::function<void(const CpuArgs&, Range)> run);
/// A call of one phase split over `total` independent pieces of the outputs that are not rows.
std::unique_ptr<CpuCall> split_call(int64_t total, std::function<void(const CpuArgs&, Range)> run);

}  // namespace wholestep
