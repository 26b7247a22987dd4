// Copies samples into padded planes. The zeros are written once a call; every sample then overwrites the data
// only.
#pragma once
#include "wholestep/backend/cpu/conv_geometry.h"
#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {

inline void fill_zero(float* out, int64_t count) {
  __builtin_memset(out, 0, static_cast<std::size_t>(count) * sizeof(float));
}

/// Copies rows of one length.
struct RowCopier {
  explicit RowCopier(int64_t length) : whole(length / kWidth * kWidth), rest(lanes_below(length - whole)) {}
  WHOLESTEP_INLINE void operator()(const float* from, float* out) const {
    for (int64_t i = 0; i < whole; i += kWidth) store(out + i, load(from + i));
    if (rest != 0) store_lanes(out + whole, load_lanes(from + whole, rest), rest);
  }
  int64_t whole;
  uint32_t rest;  // lanes of the vector behind the whole ones
};

/// Splits rows of `length` elements into `evens` and `odds` of them, which differ in number by one at most.
struct RowSplitter {
  RowSplitter() = default;
  RowSplitter(int64_t length, int64_t evens, int64_t odds) {
    while (whole + kWidth <= evens && whole + kWidth <= odds) whole += kWidth;
    low = lanes_below(length - 2 * whole);
    high = lanes_below(length - 2 * whole - kWidth);
    even_lanes = lanes_below(evens - whole);
    odd_lanes = lanes_below(odds - whole);
  }
  WHOLESTEP_INLINE void operator()(const float* from, float* even, float* odd) const {
    for (int64_t i = 0; i < whole; i += kWidth) {
      const Vec a = load(from + 2 * i), b = load(from + 2 * i + kWidth);
      store(even + i, shuffle<kEvenLanes>(a, b));
      store(odd + i, shuffle<kOddLanes>(a, b));
    }
    if ((even_lanes | odd_lanes) == 0) return;
    const Vec a = load_lanes(from + 2 * whole, low), b = load_lanes(from + 2 * whole + kWidth, high);
    store_lanes(even + whole, shuffle<kEvenLanes>(a, b), even_lanes);
    store_lanes(odd + whole, shuffle<kOddLanes>(a, b), odd_lanes);
  }
  int64_t whole = 0;
  uint32_t low = 0, high = 0, even_lanes = 0, odd_lanes = 0;  // of the vectors behind the whole ones
};

/// Copies x of samples into their planes. What all rows have in common is looked up once.
class InputCopier {
 public:
  InputCopier(const Conv2d& of, const Planes& into)
      : conv(of),
        planes(into),
        data(input_data(of.x, 0)),
        splits(of.x.stride == 2 && into.phases_x == 2),
        copy(data.end - data.begin) {
    if (!splits) return;
    int64_t count[2] = {0, 0};
    for (int64_t phase = 0; phase < 2; ++phase) {
      const PlaneData of_phase = input_data(conv.x, phase);
      count[of_phase.source & 1] = of_phase.end - of_phase.begin;
      begin[of_phase.source & 1] = phase * planes.floats + of_phase.begin;
    }
    split = RowSplitter(conv.x.in, count[0], count[1]);
  }

  /// So many channels of one sample, from x on.
  void operator()(const float* x, int64_t channels, float* out) const {
    if (conv.x.stride == 1)
      for_each_row(x + data.source, channels, out + data.begin,
                   [&](const float* from, float* to) { copy(from, to); });
    else if (splits)
      for_each_row(x, channels, out,
                   [&](const float* from, float* to) { split(from, to + begin[0], to + begin[1]); });
    else
      for (int64_t phase = 0; phase < planes.phases_x; ++phase) {
        const PlaneData of_phase = input_data(conv.x, phase);
        for_each_row(x + of_phase.source, channels, out + phase * planes.floats + of_phase.begin,
                     [&](const float* from, float* to) {
                       for (int64_t i = 0; i < of_phase.end - of_phase.begin; ++i)
                         to[i] = from[i * conv.x.stride];
                     });
      }
  }

 private:
  /// Calls row(from, to) for every row of data and the row of planes it goes to.
  template <class Row>
  WHOLESTEP_INLINE void for_each_row(const float* x, int64_t channels, float* out, Row row) const {
    for (int64_t phase = 0; phase < planes.phases_y; ++phase) {
      const PlaneData rows = input_data(conv.y, phase);
      for (int64_t c = 0; c < channels; ++c) {
        const float* from = x + (c * conv.y.in + rows.source) * conv.x.in;
        float* to = out + c * planes.channel_floats + phase * planes.phases_x * planes.floats +
                    rows.begin * planes.pitch;
        for (int64_t i = rows.begin; i < rows.end; ++i, from += conv.y.stride * conv.x.in, to += planes.pitch)
          row(from, to);
      }
    }
  }

  const Conv2d& conv;
  const Planes& planes;
  const PlaneData data;  // of the first phase
  const bool splits;     // into two phases
  const RowCopier copy;
  RowSplitter split = {};
  int64_t begin[2] = {0, 0};  // where even and odd elements go; either may be phase 0
};

/// Zeros into the rows of planes that hold no data.
inline void clear_other_rows(const Conv2d& conv, const Planes& planes, float* out) {
  for (int64_t phase = 0; phase < planes.phases_y; ++phase) {
    const PlaneData data = input_data(conv.y, phase);
    for (int64_t c = 0; c < conv.in_channels; ++c)
      for (int64_t x = 0; x < planes.phases_x; ++x) {
        float* plane = out + c * planes.channel_floats + (phase * planes.phases_x + x) * planes.floats;
        fill_zero(plane, data.begin * planes.pitch);
        fill_zero(plane + data.end * planes.pitch, (planes.rows - data.end) * planes.pitch);
      }
  }
}

/// `channels` channels of [rows, columns] into rows `pitch` and channels `channel_floats` apart.
inline void copy_channels(const float* from, int64_t channels, int64_t rows, int64_t columns, float* out,
                          int64_t channel_floats, int64_t pitch) {
  const RowCopier copy(columns);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t row = 0; row < rows; ++row, from += columns)
      copy(from, out + c * channel_floats + row * pitch);
}

}  // namespace wholestep::WHOLESTEP_ISA
