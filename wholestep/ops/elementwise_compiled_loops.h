// Element-wise programs that are compiled ahead of time, each into one loop that keeps its registers in the
// processor's: those of the common optimizers, of ReLU's gradient, of pixels scaled. All others are run
// instruction by instruction, with the same bits.
#pragma once
#include <cstdint>
#include <string>

#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

/// Elements 0 .. n - 1 of f32 results: operand k is at operands[k], of as many elements or, for a scalar,
/// one. A result may lie over an operand.
using CompiledElementwise = void (*)(const void* const* operands, const float* immediates,
                                     float* const* results, int64_t n);

/// The program "u 2 | mul 0 1; add 3 2 | 4" has one operand of u8, two immediates, two instructions and one
/// result. Operands: v is f32 and as long as the results, s one f32, u is u8 and as long.
struct CompiledProgram {
  const char* text;
  CompiledElementwise run;
};
struct CompiledPrograms {
  const CompiledProgram* begin;
  const CompiledProgram* end;
};

WHOLESTEP_DECLARE_PER_ISA(extern const CompiledPrograms kCompiledPrograms;)

}  // namespace wholestep
