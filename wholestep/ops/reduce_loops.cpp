// Dispatch of the reduction loops.
#include "wholestep/ops/reduce_loops.h"

#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

#define DECLARE(isa)                                 \
  namespace isa {                                    \
  double sum_f32(const float*, int64_t);             \
  double sum_f64(const double*, int64_t);            \
  double sum_squares_f32(const float*, int64_t);     \
  double sum_squares_f64(const double*, int64_t);    \
  void add_row_f32(double*, const float*, int64_t);  \
  void add_row_f64(double*, const double*, int64_t); \
  }
DECLARE(portable)
#if WHOLESTEP_X86
DECLARE(avx2)
DECLARE(avx512)
#define DISPATCH(function, ...)                             \
  switch (active_isa()) {                                   \
    case Isa::avx512: return avx512::function(__VA_ARGS__); \
    case Isa::avx2: return avx2::function(__VA_ARGS__);     \
    case Isa::portable: break;                              \
  }                                                         \
  return portable::function(__VA_ARGS__)
#else
#define DISPATCH(function, ...) return portable::function(__VA_ARGS__)
#endif

double sum_run(const float* x, int64_t n) { DISPATCH(sum_f32, x, n); }
double sum_run(const double* x, int64_t n) { DISPATCH(sum_f64, x, n); }
double sum_squares_run(const float* x, int64_t n) { DISPATCH(sum_squares_f32, x, n); }
double sum_squares_run(const double* x, int64_t n) { DISPATCH(sum_squares_f64, x, n); }
void add_row(double* totals, const float* row, int64_t n) { DISPATCH(add_row_f32, totals, row, n); }
void add_row(double* totals, const double* row, int64_t n) { DISPATCH(add_row_f64, totals, row, n); }

}  // namespace wholestep
