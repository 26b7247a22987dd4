// The instruction sets the CPU kernels are compiled for, and which of them this process uses.
#pragma once
#include <string_view>
#include <vector>

namespace wholestep {

/// Ordered: each includes what the ones before it can do.
enum class Isa {
  portable,     ///< what every CPU of the architecture has; no fused multiply-add on x86-64
  avx2,         ///< AVX2 and FMA: 8 f32 lanes
  avx512,       ///< AVX-512 F, BW, DQ and VL: 16 f32 lanes
  avx512_bf16,  ///< and AVX-512 BF16: pairs of bf16 multiplied and added in f32
  amx_bf16,     ///< and AMX with BF16: tiles of them
};

std::string_view name(Isa isa);     ///< "portable", "avx2", "avx512", "avx512_bf16", "amx_bf16"
Isa detected_isa();                 ///< the best one that this CPU, its operating system and this build have
std::vector<Isa> available_isas();  ///< portable up to detected_isa()

/// Kernels use at most `cap` from now on; kBadConfig where the CPU lacks it. Not to be called while a plan
/// runs: results of different instruction sets differ in their last bits.
void set_isa_cap(Isa cap);
Isa active_isa();  ///< the cap where one is set, else detected_isa()

// How code that is compiled once per instruction set is reached: declare it in every set's namespace, then
// name the copy of active_isa(). The sets with bf16 have copies of its kernels alone (kernels.h), and use
// those of AVX-512 for everything else.
#if WHOLESTEP_X86
#define WHOLESTEP_DECLARE_PER_ISA(...) \
  namespace portable {                 \
  __VA_ARGS__                          \
  }                                    \
  namespace avx2 {                     \
  __VA_ARGS__                          \
  }                                    \
  namespace avx512 {                   \
  __VA_ARGS__                          \
  }
#define WHOLESTEP_OF_ACTIVE_ISA(name) \
  (active_isa() >= Isa::avx512 ? avx512::name : active_isa() == Isa::avx2 ? avx2::name : portable::name)
#else
#define WHOLESTEP_DECLARE_PER_ISA(...) \
  namespace portable {                 \
  __VA_ARGS__                          \
  }
#define WHOLESTEP_OF_ACTIVE_ISA(name) (portable::name)
#endif

}  // namespace wholestep
