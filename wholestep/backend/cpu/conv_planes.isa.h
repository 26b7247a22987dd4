// Copies samples into padded planes. The zeros are written once; every sample then overwrites the data only.
#pragma once
#include "wholestep/backend/cpu/conv_geometry.h"
#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {

inline void fill_zero(float* out, int64_t count) {
  __builtin_memset(out, 0, static_cast<std::size_t>(count) * sizeof(float));
}

/// out[i] = from[i * stride], i < count.
inline void copy_strided(const float* from, int64_t stride, int64_t count, float* out) {
  int64_t i = 0;
  if (stride == 1) {
    for (; i + kWidth <= count; i += kWidth) store(out + i, load(from + i));
    if (i < count) store_first(out + i, load_first(from + i, count - i), count - i);
  } else if (stride == 2) {
    constexpr auto even = [](int lane) { return 2 * lane; };
    for (; i + kWidth < count; i += kWidth)
      store(out + i, shuffle<even>(load(from + 2 * i), load(from + 2 * i + kWidth)));
    const int64_t left = 2 * (count - i) - 1;  // to the last element; the one after it may not exist
    Vec low = load_first(from + 2 * i, left < kWidth ? left : kWidth);
    Vec high = left > kWidth ? load_first(from + 2 * i + kWidth, left - kWidth) : zero();
    if (i < count) store_first(out + i, shuffle<even>(low, high), count - i);
  } else {
    for (; i < count; ++i) out[i] = from[i * stride];
  }
}

/// One channel [conv.y.in, conv.x.in] of x into its planes.
inline void copy_input_channel(const Conv2d& conv, const Planes& planes, const float* x, float* out) {
  for (int64_t phase_y = 0; phase_y < planes.phases_y; ++phase_y) {
    const PlaneData rows = input_data(conv.y, phase_y);
    for (int64_t phase_x = 0; phase_x < planes.phases_x; ++phase_x, out += planes.floats) {
      const PlaneData columns = input_data(conv.x, phase_x);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        const float* from =
            x + (rows.source + (row - rows.begin) * conv.y.stride) * conv.x.in + columns.source;
        copy_strided(from, conv.x.stride, columns.end - columns.begin,
                     out + row * planes.pitch + columns.begin);
      }
    }
  }
}

/// `channels` channels of [rows, columns] into planes of one phase each, the first element at `lead`.
inline void copy_channels(const float* from, int64_t channels, int64_t rows, int64_t columns,
                          const Planes& planes, int64_t lead, float* out) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t row = 0; row < rows; ++row)
      copy_strided(from + (c * rows + row) * columns, 1, columns,
                   out + c * planes.floats + row * planes.pitch + lead);
}

}  // namespace wholestep::WHOLESTEP_ISA
