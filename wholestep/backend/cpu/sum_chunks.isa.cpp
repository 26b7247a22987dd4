// Adds up what chunks of a batch contributed, always in the same order.
#include "wholestep/backend/cpu/kernels.isa.h"
#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {

void sum_chunks(const float* chunks, int64_t count, int64_t chunk_floats, int64_t begin, int64_t end,
                float* out) {
  for (int64_t i = begin; i < end; i += kWidth) {
    const int64_t lanes = end - i < kWidth ? end - i : kWidth;
    Vec sums = count > 0 ? load_first(chunks + i, lanes) : zero();
    for (int64_t c = 1; c < count; ++c) sums = sums + load_first(chunks + c * chunk_floats + i, lanes);
    store_first(out + i, sums, lanes);
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
