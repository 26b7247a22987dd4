// CPU detection by the compiler's runtime (cpuid and xgetbv), and the cap on it.
#include "wholestep/backend/cpu/isa.h"

#include <atomic>
#include <string>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

Isa detect() {
#if WHOLESTEP_X86
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
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
    case Isa::avx512: break;
  }
  return "avx512";
}

Isa detected_isa() {
  static const Isa isa = detect();
  return isa;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
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
