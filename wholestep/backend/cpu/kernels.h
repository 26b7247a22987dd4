// The table of raw CPU kernels: one column per instruction set and precision of products, chosen at run time.
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

  /// Null, or: rounds the operand that all parts of rows (all parts of columns, where bf16_shares_a()) of a
  /// product read, once for all of them, into bf16_shared_bytes(): its columns [begin, end), from a multiple
  /// of 16 on.
  void (*pack_shared)(const Gemm&, const GemmOperands&, int64_t begin, int64_t end, void* packed);

  // Scratch of a call of each, as the functions of these names in gemm.h and conv.h say.
  int64_t (*gemm_workspace_bytes)(const Gemm&);
  int64_t (*conv_forward_workspace_bytes)(const Conv2d&);
  int64_t (*conv_input_gradient_workspace_bytes)(const Conv2d&);
  int64_t (*conv_weight_gradient_workspace_bytes)(const Conv2d&);
};

const CpuKernels& cpu_kernels();         ///< of active_isa()
const CpuKernels& cpu_kernels(Isa isa);  ///< kBadConfig where the CPU lacks the instruction set

/// The same functions with both operands of every product rounded to bf16, to nearest even; sums, and what is
/// done to them, stay f32. Subnormal operands count as zero. An element of a matrix product follows from its
/// operands and the instruction set alone. Of AMX, else of AVX-512 BF16; kBadConfig where the instruction set
/// asked for has neither.
const CpuKernels& bf16_kernels(Isa isa = active_isa());

}  // namespace wholestep
