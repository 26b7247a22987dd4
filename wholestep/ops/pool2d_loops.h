// Inner loops of pooling, dispatched by instruction set.
#pragma once
#include <cstdint>

namespace wholestep {

/// 2x2 max pooling with stride 2 over a plane x [2 rows, 2n]: y [rows, n], and argmax [rows, n] within the
/// plane. NaN wins over numbers.
void max_pool_2x2_plane(const float* x, int64_t rows, int64_t n, float* y, int32_t* argmax);
/// Its gradient dx [2 rows, 2n]: g [rows, n] where argmax says, zero elsewhere.
void max_pool_2x2_plane_dx(const float* g, const int32_t* argmax, int64_t rows, int64_t n, float* dx);
/// Average pooling of the same planes, summed in f64, and its gradient.
void average_pool_2x2_plane(const float* x, int64_t rows, int64_t n, float* y);
void average_pool_2x2_plane_dx(const float* g, int64_t rows, int64_t n, float* dx);

}  // namespace wholestep
