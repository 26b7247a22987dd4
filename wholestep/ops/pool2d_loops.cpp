// Dispatch of the pooling loops.
#include "wholestep/ops/pool2d_loops.h"

#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

WHOLESTEP_DECLARE_PER_ISA(void max_pool_2x2_plane(const float*, int64_t, int64_t, float*, int32_t*);
                          void max_pool_2x2_plane_dx(const float*, const int32_t*, int64_t, int64_t, float*);
                          void average_pool_2x2_plane(const float*, int64_t, int64_t, float*);
                          void average_pool_2x2_plane_dx(const float*, int64_t, int64_t, float*);)

void max_pool_2x2_plane(const float* x, int64_t rows, int64_t n, float* y, int32_t* argmax) {
  WHOLESTEP_OF_ACTIVE_ISA(max_pool_2x2_plane)(x, rows, n, y, argmax);
}

void max_pool_2x2_plane_dx(const float* g, const int32_t* argmax, int64_t rows, int64_t n, float* dx) {
  WHOLESTEP_OF_ACTIVE_ISA(max_pool_2x2_plane_dx)(g, argmax, rows, n, dx);
}

void average_pool_2x2_plane(const float* x, int64_t rows, int64_t n, float* y) {
  WHOLESTEP_OF_ACTIVE_ISA(average_pool_2x2_plane)(x, rows, n, y);
}

void average_pool_2x2_plane_dx(const float* g, int64_t rows, int64_t n, float* dx) {
  WHOLESTEP_OF_ACTIVE_ISA(average_pool_2x2_plane_dx)(g, rows, n, dx);
}

}  // namespace wholestep
