// Correlations whose vector lanes are channels: a tile of neighbouring outputs by vectors of channels in
// registers, transposed on its way to the output.
#include "wholestep/backend/cpu/conv_correlate.isa.h"
#include "wholestep/backend/cpu/gemm_pack.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

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

}  // namespace

void correlate_channels(const Correlation& c) {
  const Pieces vectors((c.channels + kWidth - 1) / kWidth, 3);
  const Pieces columns(c.outputs.columns, kMostOutputs[vectors.largest()]);
  for (int64_t row = 0; row < c.outputs.rows; ++row)
    for (int64_t j = 0; j < columns.count; ++j)
      for (int64_t i = 0; i < vectors.count; ++i)
        channel_tile_of(vectors.size(i), columns.size(j))(c, row, columns.begin(j), vectors.begin(i));
}

bool prefer_channel_lanes(int64_t channels, int64_t taps, const OutputRows& outputs) {
  if (taps < 2 * kWidth || outputs.columns < kWidth / 4) return false;
  const int64_t of_pixels = pixel_vector_count(outputs, kWidth) * kWidth;  // lanes a channel takes
  return outputs.rows * outputs.columns * round_up(channels, kWidth) * 10 <= channels * of_pixels * 9;
}

void transpose_weights(const float* weights, int64_t groups, int64_t channels, int64_t taps, float* out) {
  const int64_t row = round_up(channels, kWidth);
  for (int64_t g = 0; g < groups; ++g)
    copy_transposed({weights + g * channels * taps, taps, 1}, channels, taps, row, out + g * taps * row, row);
}

}  // namespace wholestep::WHOLESTEP_ISA
