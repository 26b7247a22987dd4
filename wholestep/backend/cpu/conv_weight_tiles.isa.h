// Tiles of a convolution's weight gradient: sums over the pixels of one sample, kept in registers.
#pragma once
#include "wholestep/backend/cpu/tile.isa.h"

namespace wholestep::WHOLESTEP_ISA {

/// sums[co, tap] += sum over pixels of dy[co, pixel] * planes[offsets[tap] + row * pitch + column * step]
struct WeightSums {
  const float* planes;
  const int32_t* offsets;
  int64_t taps;
  const float* dy;
  int64_t dy_stride;
  int64_t channels, rows, columns, pitch;
  int64_t step;            ///< from column to column: 1, or 2 where lanes are channels
  int64_t adjacent;        ///< so many taps, in turn, lie side by side in the planes
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

/// Left operand of a tile whose rows are taps, `Adjacent` after one another in a row of the planes, and whose
/// k are the pixels of a row.
template <int Rows, int Adjacent, int Step>
struct TapRows {
  const float* row[Rows];
  WHOLESTEP_INLINE float at(int64_t tap, int64_t pixel) const {
    if (Step == 1 && tap == 0)
      from_memory_again();  // else what the next pixel shares is carried, and spread again
    return row[tap / Adjacent][pixel * Step + tap % Adjacent];
  }
};

/// Channels as lanes. dy: [pixels, dy_stride], zero from `channels` on; sums: [taps, dy_stride].
template <int Vecs, int Step, int Adjacent, int Rows>
void channel_lane_tile(const WeightSums& w, int64_t vector0, int64_t tap0) {
  constexpr int kTaps = Rows * Adjacent;
  float* sums = w.sums + tap0 * w.dy_stride + vector0 * kWidth;
  Vec acc[kTaps][Vecs];
#pragma GCC unroll 32
  for (int t = 0; t < kTaps; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) acc[t][v] = w.resume ? load(sums + t * w.dy_stride + v * kWidth) : zero();
  for (int64_t row = 0; row < w.rows; ++row) {
    TapRows<Rows, Adjacent, Step> x;
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) x.row[r] = w.planes + w.offsets[tap0 + r * Adjacent] + row * w.pitch;
    Strided dy = {w.dy + row * w.columns * w.dy_stride + vector0 * kWidth, w.dy_stride};
    accumulate<kTaps, Vecs>(x, dy, w.columns, acc);
  }
#pragma GCC unroll 32
  for (int t = 0; t < kTaps; ++t)
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

/// How many rows of taps high a tile is: adjacent ones share an address, so that more sums than in other
/// tiles are worth their registers.
constexpr int most_tap_rows(int vecs, int adjacent) {
  if (adjacent == 1) return kMaxRows[vecs];
  const int rows = kMostWeightSums / (vecs * adjacent);
  return rows < 1 ? 1 : rows;
}
template <int Vecs, int Adjacent>
using TapRowCounts = std::make_index_sequence<most_tap_rows(Vecs, Adjacent)>;

template <int Vecs, int Step, int Adjacent, std::size_t... R>
WeightTileFn channel_lane_tile_of(int64_t rows, std::index_sequence<R...>) {
  static constexpr WeightTileFn kFns[] = {
      channel_lane_tile<Vecs, Step, Adjacent, static_cast<int>(R) + 1>...};
  return kFns[rows - 1];
}
template <int Step, int Adjacent>
WeightTileFn channel_lane_tile_of(int64_t vecs, int64_t rows) {
  switch (vecs) {
    case 1: return channel_lane_tile_of<1, Step, Adjacent>(rows, TapRowCounts<1, Adjacent>{});
    case 2: return channel_lane_tile_of<2, Step, Adjacent>(rows, TapRowCounts<2, Adjacent>{});
    default: return channel_lane_tile_of<3, Step, Adjacent>(rows, TapRowCounts<3, Adjacent>{});
  }
}
template <int Adjacent>
void add_channels_as_lanes(const WeightSums& w) {
  const Pieces vectors((w.channels + kWidth - 1) / kWidth, kWidest);
  const Pieces rows(w.taps / Adjacent, most_tap_rows(static_cast<int>(vectors.largest()), Adjacent));
  const auto tile_of = w.step == 2 ? channel_lane_tile_of<2, Adjacent> : channel_lane_tile_of<1, Adjacent>;
  for (int64_t j = 0; j < rows.count; ++j)
    for (int64_t i = 0; i < vectors.count; ++i)
      tile_of(vectors.size(i), rows.size(j))(w, vectors.begin(i), rows.begin(j) * Adjacent);
}
inline void add_channels_as_lanes(const WeightSums& w) {
  switch (w.adjacent) {
    case 3: return add_channels_as_lanes<3>(w);
    case 5: return add_channels_as_lanes<5>(w);
    default: return add_channels_as_lanes<1>(w);
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
