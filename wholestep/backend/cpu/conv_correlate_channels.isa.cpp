// Correlations whose vector lanes are channels: a tile of neighbouring outputs by vectors of channels in
// registers, transposed on its way to the output.
#include "wholestep/backend/cpu/conv_correlate.isa.h"
#include "wholestep/backend/cpu/gemm_pack.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

// How many outputs of a row, and of two rows each, high a tile of so many vectors of channels is.
#if WHOLESTEP_ISA_avx512
constexpr int kMostOutputs[4] = {0, 16, 12, 8}, kMostOfTwoRows[4] = {0, 12, 6, 4};
#elif WHOLESTEP_ISA_avx2
constexpr int kMostOutputs[4] = {0, 8, 6, 4}, kMostOfTwoRows[4] = {0, 4, 3, 2};
#else
constexpr int kMostOutputs[4] = {0, 4, 4, 2}, kMostOfTwoRows[4] = {0, 2, 2, 1};
#endif

/// Left operand whose rows are outputs and whose k are taps: `PerRow` neighbours in one row of outputs, the
/// others in the next.
template <int PerRow, int Step>
struct NeighbouringOutputs {
  const float *data, *next_row;
  const int32_t* offsets;
  WHOLESTEP_INLINE float at(int64_t output, int64_t tap) const {
    return output < PerRow ? data[offsets[tap] + output * Step]
                           : next_row[offsets[tap] + (output - PerRow) * Step];
  }
};

/// `PerRow` outputs from column0 of a row on, of `Rows` rows (1 or 2), for the channels of `Vecs` vectors.
template <int Vecs, int PerRow, int Rows, int Step>
void channel_tile(const Correlation& c, int64_t row, int64_t column0, int64_t vector0) {
  constexpr int kOutputs = PerRow * Rows, kSquares = kOutputs > kWidth ? Rows : 1, kRows = Rows / kSquares;
  Vec acc[kOutputs][Vecs];
#pragma GCC unroll 32
  for (int r = 0; r < kOutputs; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) acc[r][v] = zero();
  const float* data = c.planes + row * c.outputs.pitch + column0 * Step;
  const NeighbouringOutputs<PerRow, Step> inputs = {data, data + c.outputs.pitch, c.offsets};
  const Strided weights = {c.lane_weights + vector0 * kWidth, round_up(c.channels, kWidth)};
  accumulate<kOutputs, Vecs>(inputs, weights, c.taps, acc);
#pragma GCC unroll 8
  for (int v = 0; v < Vecs; ++v) {
    const int64_t channel0 = (vector0 + v) * kWidth, channels = smaller(kWidth, c.channels - channel0);
    const Vec bias = c.bias == nullptr ? zero() : load_first(c.bias + channel0, channels);
    float* out = c.out + channel0 * c.out_channel + row * c.outputs.row_floats + column0;
#pragma GCC unroll 2
    for (int s = 0; s < kSquares; ++s, out += c.outputs.row_floats) {
      constexpr int kIn = PerRow * kRows;
      Vec square[kWidth];
#pragma GCC unroll 16
      for (int r = 0; r < kWidth; ++r)
        square[r] = r < kIn ? with_bias_and_relu(c, acc[s * kIn + r][v], bias) : zero();
      transpose(square);
      constexpr uint32_t kOfRow = (1u << PerRow) - 1;
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        if (i >= channels) continue;
        store_lanes(out + i * c.out_channel, square[i], kOfRow);
        if (kRows == 2)
          store_lanes(out + i * c.out_channel + c.outputs.row_floats - PerRow, square[i], kOfRow << PerRow);
      }
    }
  }
}

using ChannelTileFn = void (*)(const Correlation&, int64_t row, int64_t column0, int64_t vector0);
template <int Vecs, int Rows, int Step, std::size_t... N>
ChannelTileFn channel_tile_of(int64_t per_row, std::index_sequence<N...>) {
  static constexpr ChannelTileFn kFns[] = {channel_tile<Vecs, static_cast<int>(N) + 1, Rows, Step>...};
  return kFns[per_row - 1];
}
template <int Vecs, int Step>
ChannelTileFn channel_tile_of(int64_t rows, int64_t per_row) {
  if (rows == 2)
    return channel_tile_of<Vecs, 2, Step>(per_row, std::make_index_sequence<kMostOfTwoRows[Vecs]>{});
  return channel_tile_of<Vecs, 1, Step>(per_row, std::make_index_sequence<kMostOutputs[Vecs]>{});
}
template <int Step>
ChannelTileFn channel_tile_of(int64_t vecs, int64_t rows, int64_t per_row) {
  switch (vecs) {
    case 1: return channel_tile_of<1, Step>(rows, per_row);
    case 2: return channel_tile_of<2, Step>(rows, per_row);
    default: return channel_tile_of<3, Step>(rows, per_row);
  }
}

}  // namespace

// Two short rows at a time, where a tile has room for them.
void correlate_channels(const Correlation& c) {
  const Pieces vectors((c.channels + kWidth - 1) / kWidth, 3);
  const Pieces columns(c.outputs.columns, kMostOutputs[vectors.largest()]);
  const int64_t at_once = c.outputs.columns <= kMostOfTwoRows[vectors.largest()] ? 2 : 1;
  for (int64_t row = 0; row < c.outputs.rows; row += at_once)
    for (int64_t j = 0; j < columns.count; ++j)
      for (int64_t i = 0; i < vectors.count; ++i) {
        const auto tile_of = c.step == 2 ? channel_tile_of<2> : channel_tile_of<1>;
        tile_of(vectors.size(i), smaller(at_once, c.outputs.rows - row), columns.size(j))(
            c, row, columns.begin(j), vectors.begin(i));
      }
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
