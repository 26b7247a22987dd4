// Random operands, and oneDNN held to one thread so that kernels are compared core by core.
#pragma once
#include <dlfcn.h>

#include <cstdint>
#include <vector>

#include "wholestep/backend/cpu/kernels.h"
#include "wholestep/base/philox.h"

namespace wholestep {

inline std::vector<float> random_floats(int64_t count, uint64_t seed) {
  PhiloxStream stream(seed, 0);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = stream.uniform(-1, 1);
  return values;
}

/// f32, or bf16 on the instruction sets that are there for it.
inline const CpuKernels& kernels_of(Isa isa) {
  return isa > Isa::avx512 ? bf16_kernels(isa) : cpu_kernels(isa);
}

/// oneDNN takes its threads from the OpenMP runtime that it brings along.
inline void hold_onednn_to_one_thread() {
  using SetThreads = void (*)(int);
  if (auto set_threads = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "omp_set_num_threads")))
    set_threads(1);
}

void register_op_benchmarks();  ///< op_bench.cpp

}  // namespace wholestep
