// Inner loops of pooling, dispatched by instruction set.
#pragma once
#include <cstdint>

namespace wholestep {

/// One row of 2x2 max pooling with stride 2: y [n] and argmax [n] from two rows of 2n inputs whose first
/// elements have the indices `first` and `second`. NaN wins over numbers.
void max_pool_2x2_row(const float* upper, const float* lower, int64_t n, int32_t first, int32_t second,
                      float* y, int32_t* argmax);
/// Its gradient: g [n] where argmax [n] says, zero elsewhere, in two rows of 2n.
void max_pool_2x2_row_dx(const float* g, const int32_t* argmax, int64_t n, int32_t first, int32_t second,
                         float* upper, float* lower);

}  // namespace wholestep
