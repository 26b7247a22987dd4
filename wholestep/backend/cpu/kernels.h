// The table of raw CPU kernels: one column per instruction set, chosen at run time.
#pragma once
#include "wholestep/backend/cpu/gemm.h"
#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

/// Pure functions on pointers: they never allocate, throw or start threads, and take scratch from the caller.
struct CpuKernels {
  void (*gemm)(const Gemm&, const GemmOperands&, const GemmPart&, void* workspace);
};

const CpuKernels& cpu_kernels();         ///< of active_isa()
const CpuKernels& cpu_kernels(Isa isa);  ///< kBadConfig where the CPU lacks the instruction set

}  // namespace wholestep
