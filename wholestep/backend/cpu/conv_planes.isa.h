// Copies samples into padded planes. The zeros are written once a call; every sample then overwrites the data
// only.
#pragma once
#include "wholestep/backend/cpu/conv_geometry.h"
#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {

inline void fill_zero(float* out, int64_t count) {
  __builtin_memset(out, 0, static_cast<std::size_t>(count) * sizeof(float));
}

WHOLESTEP_INLINE int64_t lanes_of(int64_t count) { return count < 0 ? 0 : count < kWidth ? count : kWidth; }

WHOLESTEP_INLINE void copy_row(const float* from, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) store(out + i, load(from + i));
  if (i < count) store_first(out + i, load_first(from + i, count - i), count - i);
}

/// even[i] = from[2 i], odd[i] = from[2 i + 1], as many as asked for of `length` elements.
WHOLESTEP_INLINE void split_row(const float* from, int64_t length, float* even, int64_t evens, float* odd,
                                int64_t odds) {
  constexpr auto evenly = [](int lane) { return 2 * lane; };
  constexpr auto oddly = [](int lane) { return 2 * lane + 1; };
  const int64_t more = evens > odds ? evens : odds, fewer = evens > odds ? odds : evens;
  int64_t i = 0;
  for (; i + kWidth <= fewer && 2 * (i + kWidth) <= length; i += kWidth) {
    const Vec low = load(from + 2 * i), high = load(from + 2 * i + kWidth);
    store(even + i, shuffle<evenly>(low, high));
    store(odd + i, shuffle<oddly>(low, high));
  }
  for (; i < more; i += kWidth) {
    const Vec low = load_first(from + 2 * i, lanes_of(length - 2 * i));
    const Vec high = load_first(from + 2 * i + kWidth, lanes_of(length - 2 * i - kWidth));
    store_first(even + i, shuffle<evenly>(low, high), lanes_of(evens - i));
    store_first(odd + i, shuffle<oddly>(low, high), lanes_of(odds - i));
  }
}

/// x of one sample into its planes: calls row(from, to) for every row of data and every row of planes it goes
/// to.
template <class Row>
WHOLESTEP_INLINE void for_each_row(const Conv2d& conv, const Planes& planes, const float* x, float* out,
                                   Row row) {
  for (int64_t phase = 0; phase < planes.phases_y; ++phase) {
    const PlaneData data = input_data(conv.y, phase);
    for (int64_t c = 0; c < conv.in_channels; ++c) {
      const float* from = x + (c * conv.y.in + data.source) * conv.x.in;
      float* to = out + c * planes.channel_floats + phase * planes.phases_x * planes.floats;
      for (int64_t i = data.begin; i < data.end; ++i, from += conv.y.stride * conv.x.in)
        row(from, to + i * planes.pitch);
    }
  }
}

inline void copy_input(const Conv2d& conv, const Planes& planes, const float* x, float* out) {
  if (conv.x.stride == 1) {
    const PlaneData data = input_data(conv.x, 0);
    for_each_row(conv, planes, x, out + data.begin, [&](const float* from, float* to) {
      copy_row(from + data.source, data.end - data.begin, to);
    });
  } else if (conv.x.stride == 2) {
    int64_t count[2] = {0, 0}, begin[2] = {0, 0};  // where even and odd elements go; either may be phase 0
    for (int64_t phase = 0; phase < planes.phases_x; ++phase) {
      const PlaneData data = input_data(conv.x, phase);
      count[data.source & 1] = data.end - data.begin;
      begin[data.source & 1] = phase * planes.floats + data.begin;
    }
    for_each_row(conv, planes, x, out, [&](const float* from, float* to) {
      split_row(from, conv.x.in, to + begin[0], count[0], to + begin[1], count[1]);
    });
  } else {
    for (int64_t phase = 0; phase < planes.phases_x; ++phase) {
      const PlaneData data = input_data(conv.x, phase);
      for_each_row(conv, planes, x, out + phase * planes.floats + data.begin,
                   [&](const float* from, float* to) {
                     for (int64_t i = 0; i < data.end - data.begin; ++i)
                       to[i] = from[data.source + i * conv.x.stride];
                   });
    }
  }
}

/// `channels` channels of [rows, columns] into rows `pitch` and channels `channel_floats` apart.
inline void copy_channels(const float* from, int64_t channels, int64_t rows, int64_t columns, float* out,
                          int64_t channel_floats, int64_t pitch) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t row = 0; row < rows; ++row, from += columns)
      copy_row(from, columns, out + c * channel_floats + row * pitch);
}

}  // namespace wholestep::WHOLESTEP_ISA
