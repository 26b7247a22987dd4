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
#pragma GCC unroll 8
  for (int v = 0; v < Vecs; ++v) pixels.base[v] = c.planes + vectors[v].base;
  int64_t first = 0, end = c.taps, step = c.taps;
  if (c.channel_taps != 0) {
    first = vectors[0].first_tap, end = vectors[0].end_tap, step = c.channel_taps;
    for (int v = 1; v < Vecs; ++v) {
      first = vectors[v].first_tap < first ? vectors[v].first_tap : first;
      end = vectors[v].end_tap > end ? vectors[v].end_tap : end;
    }
  }
  for (int64_t k = first; k < c.taps; k += step) {
    pixels.offsets = c.offsets + k;
    accumulate<Channels, Vecs>(RowMajor{c.weights + channel0 * c.taps + k, c.taps}, pixels, end - first, acc);
  }
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

// A tile's input stays in the first-level cache while its channels go by. It adds the taps that any of its
// vectors needs, so there are fewer vectors to a tile where they differ.
void correlate_outputs(const Correlation& c) {
  const Pieces channels(c.channels, kMostChannels);
  const int64_t most = kMostVectors[channels.largest()];
  const Pieces vectors(c.pixels.count, c.channel_taps != 0 && most > 3 ? 3 : most);
  for (int64_t j = 0; j < vectors.count; ++j)
    for (int64_t i = 0; i < channels.count; ++i)
      correlate_of(channels.size(i), vectors.size(j))(c, channels.begin(i), vectors.begin(j));
}

}  // namespace wholestep::WHOLESTEP_ISA
