// What a CPU kernel hands over when it is prepared: phases, each split into chunks by sizes and constants
// alone, so that any number of threads computes the same bits. Between two phases of a call lies a barrier,
// unless both are split by rows.
#pragma once
#include <memory>

#include "wholestep/backend/phases.h"

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

/// Chunk c of a phase over rows has rows Split(rows)[c].
struct CpuPhase {
  int64_t chunks = 1;
  int64_t rows = 0;
  uint64_t row_inputs = 0, row_outputs = 0;
  uint64_t reads = kAllOperands;  ///< inputs it looks at
  bool parts = false;             ///< it writes to the workspace alone
  std::function<void(const CpuArgs&, int64_t chunk)> run = {};
};

struct CpuCall final : PhasedKernel {
  std::vector<CpuPhase> phases;
  size_t phase_count() const override { return phases.size(); }
  PhaseExtent phase(size_t i) const override {
    const CpuPhase& p = phases[i];
    return {.chunks = p.chunks,
            .rows = p.rows,
            .row_inputs = p.row_inputs,
            .row_outputs = p.row_outputs,
            .reads = p.reads,
            .parts = p.parts};
  }
};

/// A call of one phase with one chunk.
std::unique_ptr<CpuCall> serial_call(std::function<void(const CpuArgs&)> run);
/// A call of one phase split over the rows of the operands marked: run(args, rows).
std::unique_ptr<CpuCall> row_call(int64_t rows, uint64_t row_inputs, uint64_t row_outputs,
                                  std::function<void(const CpuArgs&, Range)> run);
/// A call of one phase split over `total` independent pieces of the outputs that are not rows.
std::unique_ptr<CpuCall> split_call(int64_t total, std::function<void(const CpuArgs&, Range)> run);

}  // namespace wholestep
