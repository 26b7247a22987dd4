// Dispatch of the pooling loops.
#include "wholestep/ops/pool2d_loops.h"

#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

namespace portable {
void max_pool_2x2_row(const float*, const float*, int64_t, int32_t, int32_t, float*, int32_t*);
}
#if WHOLESTEP_X86
namespace avx2 {
void max_pool_2x2_row(const float*, const float*, int64_t, int32_t, int32_t, float*, int32_t*);
}
namespace avx512 {
void max_pool_2x2_row(const float*, const float*, int64_t, int32_t, int32_t, float*, int32_t*);
}
#endif

void max_pool_2x2_row(const float* upper, const float* lower, int64_t n, int32_t first, int32_t second,
                      float* y, int32_t* argmax) {
#if WHOLESTEP_X86
  switch (active_isa()) {
    case Isa::avx512: return avx512::max_pool_2x2_row(upper, lower, n, first, second, y, argmax);
    case Isa::avx2: return avx2::max_pool_2x2_row(upper, lower, n, first, second, y, argmax);
    case Isa::portable: break;
  }
#endif
  portable::max_pool_2x2_row(upper, lower, n, first, second, y, argmax);
}

}  // namespace wholestep
