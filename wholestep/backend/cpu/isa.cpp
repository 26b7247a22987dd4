// CPU detection by the compiler's runtime (cpuid and xgetbv) and by asking the system, and the cap on it.
#include "wholestep/backend/cpu/isa.h"

#if WHOLESTEP_X86
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>
#include <string>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

#if WHOLESTEP_X86
/// Linux lends the registers of AMX to processes that ask: Documentation/arch/x86/xstate.rst.
bool amx_permitted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

Isa detect() {
#if WHOLESTEP_X86
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  bool bf16 = __builtin_cpu_supports("avx512bf16");
  bool amx = __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16");
  if (avx2 && avx512 && bf16) return amx && amx_permitted() ? Isa::amx_bf16 : Isa::avx512_bf16;
  if (avx2 && avx512) return Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::portable;
}

std::atomic<Isa>& active() {
  static std::atomic<Isa> isa{detected_isa()};
  return isa;
}

}  // namespace

std::string_view name(Isa isa) {
  switch (isa) {
    case Isa::portable: return "portable";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::avx512_bf16: return "avx512_bf16";
    case Isa::amx_bf16: break;
  }
  return "amx_bf16";
}

Isa detected_isa() {
  static const Isa isa = detect();
  return isa;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx_bf16})
    if (isa <= detected_isa()) isas.push_back(isa);
  return isas;
}

void set_isa_cap(Isa cap) {
  if (cap > detected_isa())
    throw Error(ErrorCode::kBadConfig, {.what = "this CPU lacks the instruction set",
                                        .got = std::string(name(cap)),
                                        .expected = "at most " + std::string(name(detected_isa()))});
  active().store(cap, std::memory_order_relaxed);
}

Isa active_isa() { return active().load(std::memory_order_relaxed); }

}  // namespace wholestep
