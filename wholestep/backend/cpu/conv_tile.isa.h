// The inner loops of convolutions over padded planes: a tile of channels by vectors of neighbouring outputs
// stays in registers while all taps of all input channels are added, in ascending order.
#pragma once
#include "wholestep/backend/cpu/conv_pixels.h"
#include "wholestep/backend/cpu/tile.isa.h"

namespace wholestep::WHOLESTEP_ISA {

/// out[c, pixel] = relu(sum over taps of weights[c, tap] * planes[offsets[tap] + base of pixel] + bias[c])
struct Correlation {
  const float* planes;
  const int32_t* offsets;
  int64_t taps;
  const float* weights;  ///< [channels, taps]
  int64_t channels;
  PixelTable pixels;
  const float* bias;  ///< null for none
  bool relu;
  float* out;
  int64_t out_channel;  ///< floats from one channel of the output to the next
};

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
    for (int v = 0; v < Vecs; ++v) {
      if (c.bias != nullptr) acc[r][v] = acc[r][v] + bias;
      if (c.relu) acc[r][v] = max(zero(), acc[r][v]);
    }
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

/// All channels and vectors of `c`; a tile's input stays in the first-level cache while its channels go by.
inline void correlate(const Correlation& c) {
  const Pieces channels(c.channels, kMostChannels);
  const Pieces vectors(c.pixels.count, kMostVectors[channels.largest()]);
  for (int64_t j = 0; j < vectors.count; ++j)
    for (int64_t i = 0; i < channels.count; ++i)
      correlate_of(channels.size(i), vectors.size(j))(c, channels.begin(i), vectors.begin(j));
}

}  // namespace wholestep::WHOLESTEP_ISA
