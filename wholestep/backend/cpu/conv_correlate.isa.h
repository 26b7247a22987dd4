// What forward convolutions and input gradients have in common: sums over taps at constant distances in
// padded planes, added in ascending order while a tile of outputs stays in registers. Vector lanes are
// neighbouring outputs, or channels where those fill vectors better.
#pragma once
#include "wholestep/backend/cpu/conv_pixels.h"
#include "wholestep/backend/cpu/gemm_pack.isa.h"
#include "wholestep/backend/cpu/tile.isa.h"

namespace wholestep::WHOLESTEP_ISA {

/// out[c, y, x] = relu(sum over taps of weights[c, tap] * planes[offsets[tap] + y * pitch + x] + bias[c])
struct Correlation {
  const float* planes;
  const int32_t* offsets;
  int64_t taps;
  const float* weights;       ///< [channels, taps]
  const float* lane_weights;  ///< null for outputs as lanes; else [taps, channels], rows of whole vectors
  int64_t channels;
  OutputRows outputs;
  PixelTable pixels;  ///< of `outputs`
  const float* bias;  ///< null for none
  bool relu;
  float* out;
  int64_t out_channel;  ///< floats from one channel of the output to the next
};

WHOLESTEP_INLINE Vec with_bias_and_relu(const Correlation& c, Vec sums, Vec bias) {
  if (c.bias != nullptr) sums = sums + bias;
  return c.relu ? max(zero(), sums) : sums;
}

// How many vectors wide a tile of so many channels is.
#if WHOLESTEP_ISA_avx512
constexpr int kMostChannels = 8, kMostVectors[9] = {0, 8, 8, 7, 6, 5, 4, 3, 3};
#elif WHOLESTEP_ISA_avx2
constexpr int kMostChannels = 6, kMostVectors[7] = {0, 6, 4, 4, 3, 2, 2};
#else
constexpr int kMostChannels = 4, kMostVectors[5] = {0, 6, 4, 3, 2};
#endif

template <int Channels, int Vecs>
void correlate_tile(const Correlation& c, int64_t channel0, int64_t vector0) {
  Vec acc[Channels][Vecs];
#pragma GCC unroll 8
  for (int r = 0; r < Channels; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) acc[r][v] = zero();
  const PixelVector* vectors = c.pixels.vectors + vector0;
  Scattered<Vecs> pixels;
  pixels.offsets = c.offsets;
#pragma GCC unroll 8
  for (int v = 0; v < Vecs; ++v) pixels.base[v] = c.planes + vectors[v].base;
  accumulate<Channels, Vecs>(RowMajor{c.weights + channel0 * c.taps, c.taps}, pixels, c.taps, acc);
#pragma GCC unroll 8
  for (int r = 0; r < Channels; ++r) {
    const Vec bias = c.bias == nullptr ? zero() : broadcast(c.bias[channel0 + r]);
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) acc[r][v] = with_bias_and_relu(c, acc[r][v], bias);
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vecs; ++v) {
    for (int64_t s = vectors[v].segments; s < vectors[v + 1].segments; ++s) {
      const PixelSegment& segment = c.pixels.segments[s];
      float* out = c.out + channel0 * c.out_channel + segment.out;
#pragma GCC unroll 8
      for (int r = 0; r < Channels; ++r) store_lanes(out + r * c.out_channel, acc[r][v], segment.lanes);
    }
  }
}

using CorrelateFn = void (*)(const Correlation&, int64_t channel0, int64_t vector0);
template <int Channels, std::size_t... V>
CorrelateFn correlate_of(int64_t vecs, std::index_sequence<V...>) {
  static constexpr CorrelateFn kFns[] = {correlate_tile<Channels, static_cast<int>(V) + 1>...};
  return kFns[vecs - 1];
}
template <int Channels = 1>
CorrelateFn correlate_of(int64_t channels, int64_t vecs) {
  if constexpr (Channels < kMostChannels)
    if (channels > Channels) return correlate_of<Channels + 1>(channels, vecs);
  return correlate_of<Channels>(vecs, std::make_index_sequence<kMostVectors[Channels]>{});
}

/// Outputs as lanes. A tile's input stays in the first-level cache while its channels go by.
inline void correlate_pixels(const Correlation& c) {
  const Pieces channels(c.channels, kMostChannels);
  const Pieces vectors(c.pixels.count, kMostVectors[channels.largest()]);
  for (int64_t j = 0; j < vectors.count; ++j)
    for (int64_t i = 0; i < channels.count; ++i)
      correlate_of(channels.size(i), vectors.size(j))(c, channels.begin(i), vectors.begin(j));
}

// How many outputs of a row high a tile of so many vectors of channels is.
#if WHOLESTEP_ISA_avx512
constexpr int kMostOutputs[4] = {0, 16, 12, 8};
#elif WHOLESTEP_ISA_avx2
constexpr int kMostOutputs[4] = {0, 8, 6, 4};
#else
constexpr int kMostOutputs[4] = {0, 4, 4, 2};
#endif

/// Left operand whose rows are neighbouring outputs and whose k are taps.
struct NeighbouringOutputs {
  const float* data;
  const int32_t* offsets;
  WHOLESTEP_INLINE float at(int64_t output, int64_t tap) const { return data[offsets[tap] + output]; }
};

/// `Outputs` outputs from column0 of a row on, for the channels of `Vecs` vectors.
template <int Vecs, int Outputs>
void channel_tile(const Correlation& c, int64_t row, int64_t column0, int64_t vector0) {
  Vec acc[Outputs][Vecs];
#pragma GCC unroll 16
  for (int r = 0; r < Outputs; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) acc[r][v] = zero();
  const NeighbouringOutputs inputs = {c.planes + row * c.outputs.pitch + column0, c.offsets};
  const Strided weights = {c.lane_weights + vector0 * kWidth, round_up(c.channels, kWidth)};
  accumulate<Outputs, Vecs>(inputs, weights, c.taps, acc);
#pragma GCC unroll 8
  for (int v = 0; v < Vecs; ++v) {
    const int64_t channel0 = (vector0 + v) * kWidth, channels = smaller(kWidth, c.channels - channel0);
    const Vec bias = c.bias == nullptr ? zero() : load_first(c.bias + channel0, channels);
    Vec square[kWidth];
#pragma GCC unroll 16
    for (int r = 0; r < kWidth; ++r)
      square[r] = r < Outputs ? with_bias_and_relu(c, acc[r][v], bias) : zero();
    transpose(square);
    float* out = c.out + channel0 * c.out_channel + row * c.outputs.row_floats + column0;
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i)
      if (i < channels) store_first(out + i * c.out_channel, square[i], Outputs);
  }
}

using ChannelTileFn = void (*)(const Correlation&, int64_t row, int64_t column0, int64_t vector0);
template <int Vecs, std::size_t... N>
ChannelTileFn channel_tile_of(int64_t outputs, std::index_sequence<N...>) {
  static constexpr ChannelTileFn kFns[] = {channel_tile<Vecs, static_cast<int>(N) + 1>...};
  return kFns[outputs - 1];
}
inline ChannelTileFn channel_tile_of(int64_t vecs, int64_t outputs) {
  switch (vecs) {
    case 1: return channel_tile_of<1>(outputs, std::make_index_sequence<kMostOutputs[1]>{});
    case 2: return channel_tile_of<2>(outputs, std::make_index_sequence<kMostOutputs[2]>{});
    default: return channel_tile_of<3>(outputs, std::make_index_sequence<kMostOutputs[3]>{});
  }
}

/// Channels as lanes.
inline void correlate_channels(const Correlation& c) {
  const Pieces vectors((c.channels + kWidth - 1) / kWidth, 3);
  const Pieces columns(c.outputs.columns, kMostOutputs[vectors.largest()]);
  for (int64_t row = 0; row < c.outputs.rows; ++row)
    for (int64_t j = 0; j < columns.count; ++j)
      for (int64_t i = 0; i < vectors.count; ++i)
        channel_tile_of(vectors.size(i), columns.size(j))(c, row, columns.begin(j), vectors.begin(i));
}

/// Whether channels as lanes are worth what it costs to transpose tiles of outputs.
inline bool prefer_channel_lanes(int64_t channels, int64_t taps, const OutputRows& outputs) {
  if (taps < 2 * kWidth || outputs.columns < kWidth / 4) return false;
  const int64_t of_pixels = pixel_vector_count(outputs, kWidth) * kWidth;  // lanes a channel takes
  return outputs.rows * outputs.columns * round_up(channels, kWidth) * 10 <= channels * of_pixels * 9;
}

/// weights [groups, channels, taps] for channels as lanes: [groups, taps, channels], rows of whole vectors.
inline void transpose_weights(const float* weights, int64_t groups, int64_t channels, int64_t taps,
                              float* out) {
  const int64_t row = round_up(channels, kWidth);
  for (int64_t g = 0; g < groups; ++g)
    copy_transposed({weights + g * channels * taps, taps, 1}, channels, taps, row, out + g * taps * row, row);
}

inline void correlate(const Correlation& c) {
  c.lane_weights == nullptr ? correlate_pixels(c) : correlate_channels(c);
}

}  // namespace wholestep::WHOLESTEP_ISA
