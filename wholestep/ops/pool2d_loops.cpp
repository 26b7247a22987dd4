// Dispatch of the pooling loops.
#include "wholestep/ops/pool2d_loops.h"

#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

WHOLESTEP_DECLARE_PER_ISA(void max_pool_2x2_row(const float*, const float*, int64_t, int32_t, int32_t, float*,
                                                int32_t*);
                          void max_pool_2x2_row_dx(const float*, const int32_t*, int64_t, int32_t, int32_t,
                                                   float*, float*);)

void max_pool_2x2_row(const float* upper, const float* lower, int64_t n, int32_t first, int32_t second,
                      float* y, int32_t* argmax) {
  WHOLESTEP_OF_ACTIVE_ISA(max_pool_2x2_row)(upper, lower, n, first, second, y, argmax);
}

void max_pool_2x2_row_dx(const float* g, const int32_t* argmax, int64_t n, int32_t first, int32_t second,
                         float* upper, float* lower) {
  WHOLESTEP_OF_ACTIVE_ISA(max_pool_2x2_row_dx)(g, argmax, n, first, second, upper, lower);
}

}  // namespace wholestep
