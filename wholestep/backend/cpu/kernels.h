// The table of raw CPU kernels: one column per instruction set, chosen at run time.
#pragma once
#include "wholestep/backend/cpu/conv.h"
#include "wholestep/backend/cpu/gemm.h"
#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

/// Pure functions on pointers: they never allocate, throw or start threads, and take scratch from the caller.
struct CpuKernels {
  void (*gemm)(const Gemm&, const GemmOperands&, const GemmPart&, void* workspace);
  void (*conv_forward)(const Conv2d&, const ConvForward&, const SampleRange&, void* workspace);
  void (*conv_input_gradient)(const Conv2d&, const ConvInputGradient&, const SampleRange&, void* workspace);
  void (*conv_weight_gradient)(const Conv2d&, const ConvWeightGradient&, const SampleRange&, void* workspace);

  /// out[i] = chunks[i] + chunks[chunk_floats + i] + ..., `count` chunks added in ascending order, for begin
  /// <= i < end. `out` may be the first chunk.
  void (*sum_chunks)(const float* chunks, int64_t count, int64_t chunk_floats, int64_t begin, int64_t end,
                     float* out);
};

const CpuKernels& cpu_kernels();         ///< of active_isa()
const CpuKernels& cpu_kernels(Isa isa);  ///< kBadConfig where the CPU lacks the instruction set

}  // namespace wholestep
