// Tiles of a convolution's weight gradient: sums over the pixels of one sample, kept in registers.
#pragma once
#include "wholestep/backend/cpu/tile.isa.h"

namespace wholestep::WHOLESTEP_ISA {

/// sums[co, tap] += sum over pixels of dy[co, pixel] * planes[offsets[tap] + row * pitch + column]
struct WeightSums {
  const float* planes;
  const int32_t* offsets;
  int64_t taps;
  const float* dy;
  int64_t dy_stride;
  int64_t channels, rows, columns, pitch;
  const int32_t* vectors;  ///< where lanes are pixels: where each vector of them starts in the planes
  int64_t vector_count;
  float* sums;
  int64_t sums_stride;  ///< where lanes are pixels: vectors from one channel's sums to the next one's
  bool resume;          ///< go on from `sums` instead of zero
};

/// Pixels as lanes. dy: [channels, vectors], channels dy_stride apart; sums: [channels, taps] vectors,
/// channels sums_stride apart.
template <int Channels, int Taps>
void pixel_lane_tile(const WeightSums& w, int64_t channel0, int64_t tap0) {
  float* sums = w.sums + (channel0 * w.sums_stride + tap0) * kWidth;
  Vec acc[Channels][Taps];
#pragma GCC unroll 8
  for (int c = 0; c < Channels; ++c)
#pragma GCC unroll 8
    for (int t = 0; t < Taps; ++t)
      acc[c][t] = w.resume ? load(sums + (c * w.sums_stride + t) * kWidth) : zero();
  const float* x[Taps];
#pragma GCC unroll 8
  for (int t = 0; t < Taps; ++t) x[t] = w.planes + w.offsets[tap0 + t];
  const float* dy = w.dy + channel0 * w.dy_stride;
  for (int64_t i = 0; i < w.vector_count; ++i) {
    const int64_t at = w.vectors[i];
    Vec shifted[Taps];
#pragma GCC unroll 8
    for (int t = 0; t < Taps; ++t) shifted[t] = load(x[t] + at);
#pragma GCC unroll 8
    for (int c = 0; c < Channels; ++c) {
      Vec gradient = load(dy + c * w.dy_stride + i * kWidth);
      in_register(gradient);
#pragma GCC unroll 8
      for (int t = 0; t < Taps; ++t) acc[c][t] = fma(gradient, shifted[t], acc[c][t]);
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < Channels; ++c)
#pragma GCC unroll 8
    for (int t = 0; t < Taps; ++t) store(sums + (c * w.sums_stride + t) * kWidth, acc[c][t]);
}

/// Left operand of a tile whose rows are taps and whose k are the pixels of a row.
template <int Taps>
struct TapRows {
  const float* row[Taps];
  WHOLESTEP_INLINE float at(int64_t tap, int64_t pixel) const { return row[tap][pixel]; }
};

/// Channels as lanes. dy: [pixels, dy_stride], zero from `channels` on; sums: [taps, dy_stride].
template <int Vecs, int Taps>
void channel_lane_tile(const WeightSums& w, int64_t vector0, int64_t tap0) {
  float* sums = w.sums + tap0 * w.dy_stride + vector0 * kWidth;
  Vec acc[Taps][Vecs];
#pragma GCC unroll 16
  for (int t = 0; t < Taps; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) acc[t][v] = w.resume ? load(sums + t * w.dy_stride + v * kWidth) : zero();
  for (int64_t row = 0; row < w.rows; ++row) {
    TapRows<Taps> x;
#pragma GCC unroll 16
    for (int t = 0; t < Taps; ++t) x.row[t] = w.planes + w.offsets[tap0 + t] + row * w.pitch;
    Strided dy = {w.dy + row * w.columns * w.dy_stride + vector0 * kWidth, w.dy_stride};
    accumulate<Taps, Vecs>(x, dy, w.columns, acc);
  }
#pragma GCC unroll 16
  for (int t = 0; t < Taps; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) store(sums + t * w.dy_stride + v * kWidth, acc[t][v]);
}

using WeightTileFn = void (*)(const WeightSums&, int64_t first, int64_t tap0);

template <int Channels, std::size_t... T>
WeightTileFn pixel_lane_tile_of(int64_t taps, std::index_sequence<T...>) {
  static constexpr WeightTileFn kFns[] = {pixel_lane_tile<Channels, static_cast<int>(T) + 1>...};
  return kFns[taps - 1];
}
template <int Channels = 1>
WeightTileFn pixel_lane_tile_of(int64_t channels, int64_t taps) {
  if constexpr (Channels < kMostChannels)
    if (channels > Channels) return pixel_lane_tile_of<Channels + 1>(channels, taps);
  return pixel_lane_tile_of<Channels>(taps, std::make_index_sequence<kMostVectors[Channels]>{});
}
/// So many vectors of pixels of a tile's channels of dy stay in the first-level cache while the taps go by.
constexpr int64_t kPixelBlock = 32;
/// `w` moves on through the pixels.
inline void add_pixels_as_lanes(WeightSums& w) {
  const Pieces channels(w.channels, kMostChannels);
  const Pieces taps(w.taps, kMostVectors[channels.largest()]);
  const Pieces blocks(w.vector_count, kPixelBlock);
  for (int64_t b = 0; b < blocks.count; ++b) {
    w.vector_count = blocks.size(b);
    for (int64_t i = 0; i < channels.count; ++i)
      for (int64_t j = 0; j < taps.count; ++j)
        pixel_lane_tile_of(channels.size(i), taps.size(j))(w, channels.begin(i), taps.begin(j));
    w.vectors += w.vector_count, w.dy += w.vector_count * kWidth, w.resume = true;
  }
}

template <int Vecs, std::size_t... T>
WeightTileFn channel_lane_tile_of(int64_t taps, std::index_sequence<T...>) {
  static constexpr WeightTileFn kFns[] = {channel_lane_tile<Vecs, static_cast<int>(T) + 1>...};
  return kFns[taps - 1];
}
inline WeightTileFn channel_lane_tile_of(int64_t vecs, int64_t taps) {
  switch (vecs) {
    case 1: return channel_lane_tile_of<1>(taps, std::make_index_sequence<kMaxRows[1]>{});
    case 2: return channel_lane_tile_of<2>(taps, std::make_index_sequence<kMaxRows[2]>{});
    default: return channel_lane_tile_of<3>(taps, std::make_index_sequence<kMaxRows[3]>{});
  }
}
inline void add_channels_as_lanes(const WeightSums& w) {
  const Pieces vectors((w.channels + kWidth - 1) / kWidth, kWidest);
  const Pieces taps(w.taps, kMaxRows[vectors.largest()]);
  for (int64_t j = 0; j < taps.count; ++j)
    for (int64_t i = 0; i < vectors.count; ++i)
      channel_lane_tile_of(vectors.size(i), taps.size(j))(w, vectors.begin(i), taps.begin(j));
}

}  // namespace wholestep::WHOLESTEP_ISA
