// Correlations whose vector lanes are neighbouring outputs: a tile of channels by vectors of outputs in
// registers.
#include "wholestep/backend/cpu/conv_correlate.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

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

}  // namespace

// A tile's input stays in the first-level cache while its channels go by.
void correlate_outputs(const Correlation& c) {
  const Pieces channels(c.channels, kMostChannels);
  const Pieces vectors(c.pixels.count, kMostVectors[channels.largest()]);
  for (int64_t j = 0; j < vectors.count; ++j)
    for (int64_t i = 0; i < channels.count; ++i)
      correlate_of(channels.size(i), vectors.size(j))(c, channels.begin(i), vectors.begin(j));
}

}  // namespace wholestep::WHOLESTEP_ISA
