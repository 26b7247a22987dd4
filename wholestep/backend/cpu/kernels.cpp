// Where the copies of the *.isa.cpp files meet.
#include "wholestep/backend/cpu/kernels.h"

#include <string>

#include "wholestep/base/error.h"

namespace wholestep {

namespace portable {
extern const CpuKernels kKernels;
}
#if WHOLESTEP_X86
namespace avx2 {
extern const CpuKernels kKernels;
}
namespace avx512 {
extern const CpuKernels kKernels;
}
namespace avx512_bf16 {
extern const CpuKernels kKernels;
}
namespace amx_bf16 {
extern const CpuKernels kKernels;
}
#endif

namespace {

void require(Isa isa) {
  if (isa > detected_isa())
    throw Error(ErrorCode::kBadConfig, {.what = "this CPU lacks the instruction set",
                                        .got = std::string(name(isa)),
                                        .expected = "at most " + std::string(name(detected_isa()))});
}

}  // namespace

const CpuKernels& cpu_kernels(Isa isa) {
  require(isa);
#if WHOLESTEP_X86
  if (isa >= Isa::avx512) return avx512::kKernels;
  if (isa == Isa::avx2) return avx2::kKernels;
#endif
  return portable::kKernels;
}

const CpuKernels& cpu_kernels() { return cpu_kernels(active_isa()); }

const CpuKernels& bf16_kernels(Isa isa) {
  require(isa);
#if WHOLESTEP_X86
  if (isa == Isa::amx_bf16) return amx_bf16::kKernels;
  if (isa == Isa::avx512_bf16) return avx512_bf16::kKernels;
#endif
  throw Error(ErrorCode::kBadConfig, {.what = "products in bf16 need a CPU that multiplies bf16",
                                      .got = std::string(name(isa)),
                                      .expected = "amx_bf16 or avx512_bf16",
                                      .hint = "precision f32 runs everywhere"});
}

}  // namespace wholestep
