// Copies samples into padded planes. The zeros are written once a call; every sample then overwrites the data
// only.
#pragma once
#include "wholestep/backend/cpu/conv_geometry.h"
#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {

inline void fill_zero(float* out, int64_t count) {
  __builtin_memset(out, 0, static_cast<std::size_t>(count) * sizeof(float));
}

/// Numbers to copy, as they are.
struct Numbers {
  const float* at;
  WHOLESTEP_INLINE Numbers operator+(int64_t i) const { return {at + i}; }
  WHOLESTEP_INLINE float one(int64_t i) const { return at[i]; }
  WHOLESTEP_INLINE Vec vector(int64_t i) const { return load(at + i); }
  WHOLESTEP_INLINE Vec lanes(int64_t i, uint32_t lanes) const { return load_lanes(at + i, lanes); }
};
/// Pixels to copy, scaled.
struct ScaledPixels {
  const uint8_t* at;
  float scale, shift;
  WHOLESTEP_INLINE ScaledPixels operator+(int64_t i) const { return {at + i, scale, shift}; }
  WHOLESTEP_INLINE float one(int64_t i) const { return static_cast<float>(at[i]) * scale + shift; }
  WHOLESTEP_INLINE Vec vector(int64_t i) const { return scaled(load_bytes(at + i)); }
  /// Lanes outside may hold anything.
  WHOLESTEP_INLINE Vec lanes(int64_t i, uint32_t lanes) const { return scaled(load_bytes(at + i, lanes)); }
  WHOLESTEP_INLINE Vec scaled(Vec pixels) const { return pixels * broadcast(scale) + broadcast(shift); }
};

/// Copies rows of one length.
struct RowCopier {
  explicit RowCopier(int64_t length) : whole(length / kWidth * kWidth), rest(lanes_below(length - whole)) {}
  WHOLESTEP_INLINE void operator()(const float* from, float* out) const { (*this)(Numbers{from}, out); }
  template <class From>
  WHOLESTEP_INLINE void operator()(From from, float* out) const {
    for (int64_t i = 0; i < whole; i += kWidth) store(out + i, from.vector(i));
    if (rest != 0) store_lanes(out + whole, from.lanes(whole, rest), rest);
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
  template <class From>
  WHOLESTEP_INLINE void operator()(From from, float* even, float* odd) const {
    for (int64_t i = 0; i < whole; i += kWidth) {
      const Vec a = from.vector(2 * i), b = from.vector(2 * i + kWidth);
      store(even + i, shuffle<kEvenLanes>(a, b));
      store(odd + i, shuffle<kOddLanes>(a, b));
    }
    if ((even_lanes | odd_lanes) == 0) return;
    const Vec a = from.lanes(2 * whole, low), b = from.lanes(2 * whole + kWidth, high);
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

  /// So many channels of one sample, from x on: Numbers or ScaledPixels.
  template <class From>
  void operator()(From x, int64_t channels, float* out) const {
    if (conv.x.stride == 1)
      for_each_row(x + data.source, channels, out + data.begin,
                   [&](From from, float* to) { copy(from, to); });
    else if (splits)
      for_each_row(x, channels, out,
                   [&](From from, float* to) { split(from, to + begin[0], to + begin[1]); });
    else
      for (int64_t phase = 0; phase < planes.phases_x; ++phase) {
        const PlaneData of_phase = input_data(conv.x, phase);
        for_each_row(x + of_phase.source, channels, out + phase * planes.floats + of_phase.begin,
                     [&](From from, float* to) {
                       for (int64_t i = 0; i < of_phase.end - of_phase.begin; ++i)
                         to[i] = from.one(i * conv.x.stride);
                     });
      }
  }

 private:
  /// Calls row(from, to) for every row of data and the row of planes it goes to.
  template <class From, class Row>
  WHOLESTEP_INLINE void for_each_row(From x, int64_t channels, float* out, Row row) const {
    for (int64_t phase = 0; phase < planes.phases_y; ++phase) {
      const PlaneData rows = input_data(conv.y, phase);
      for (int64_t c = 0; c < channels; ++c) {
        From from = x + (c * conv.y.in + rows.source) * conv.x.in;
        float* to = out + c * planes.channel_floats + phase * planes.phases_x * planes.floats +
                    rows.begin * planes.pitch;
        for (int64_t i = rows.begin; i < rows.end;
             ++i, from = from + conv.y.stride * conv.x.in, to += planes.pitch)
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

/// So many channels of x, from element `at` on.
inline void copy_channels_of(const InputCopier& copy, const float* x, const ConvPixels& pixels, int64_t at,
                             int64_t channels, float* out) {
  if (pixels.pixels != nullptr)
    copy(ScaledPixels{pixels.pixels + at, pixels.scale, pixels.shift}, channels, out);
  else copy(Numbers{x + at}, channels, out);
}

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
