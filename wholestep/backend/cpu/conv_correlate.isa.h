// What forward convolutions and input gradients have in common: sums over taps at constant distances in
// padded planes, added in ascending order while a tile of outputs stays in registers. Vector lanes are
// neighbouring outputs, or channels where those fill vectors better.
#pragma once
#include "wholestep/backend/cpu/conv_pixels.h"
#include "wholestep/backend/cpu/tile.isa.h"

namespace wholestep::WHOLESTEP_ISA {

/// out[c, y, x] = relu(sum over taps of weights[c, tap] * planes[offsets[tap] + y * pitch + x * step] +
/// bias[c])
struct Correlation {
  const float* planes;
  const int32_t* offsets;
  int64_t taps;
  int64_t channel_taps;       ///< 0, or: of a channel, and vectors of pixels say which of them they add
  const float* weights;       ///< [channels, taps]
  const float* lane_weights;  ///< null for outputs as lanes; else [taps, channels], rows of whole vectors
  int64_t channels;
  OutputRows outputs;
  int64_t step;       ///< 1, or 2 for channels as lanes
  PixelTable pixels;  ///< of `outputs`, for outputs as lanes
  const float* bias;  ///< null for none
  bool relu;
  float* out;
  int64_t out_channel;  ///< floats from one channel of the output to the next
  char* scratch;        ///< of bf16_correlation_scratch(), for the kernels of bf16
};

/// The whole correlation: outputs as lanes, or channels where there are lane weights.
void correlate_outputs(const Correlation& correlation);
void correlate_channels(const Correlation& correlation);
#if WHOLESTEP_BF16
constexpr bool kChannelLanes = false;  // a tile of sums has both
#else
constexpr bool kChannelLanes = true;
#endif
WHOLESTEP_INLINE void correlate(const Correlation& correlation) {
  kChannelLanes&& correlation.lane_weights != nullptr ? correlate_channels(correlation)
                                                      : correlate_outputs(correlation);
}

/// Whether channels as lanes are worth what it costs to transpose tiles of outputs.
bool prefer_channel_lanes(int64_t channels, int64_t taps, const OutputRows& outputs);

/// weights [groups, channels, taps] for channels as lanes: [groups, taps, channels], rows of whole vectors.
void transpose_weights(const float* weights, int64_t groups, int64_t channels, int64_t taps, float* out);

WHOLESTEP_INLINE Vec with_bias_and_relu(const Correlation& c, Vec sums, Vec bias) {
  if (c.bias != nullptr) sums = sums + bias;
  return c.relu ? max(zero(), sums) : sums;
}

}  // namespace wholestep::WHOLESTEP_ISA
