// Forward convolutions and input gradients in bf16: vectors of 16 outputs are the columns of a matrix product
// whose k are taps.
#include "wholestep/backend/cpu/bf16.h"
#include "wholestep/backend/cpu/bf16_pack.bf16.h"
#include "wholestep/backend/cpu/conv_correlate.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

// The taps of 16 outputs as a column of tiles.
void pack_vector(const Correlation& c, const float* from, char* out) {
  const int64_t rows = steps_of(c.taps) * kTile;
  int64_t p = 0;
  for (; 2 * p + 1 < c.taps; ++p)
    store_bits(out + p * 64, rounded_pairs(load(from + c.offsets[2 * p]), load(from + c.offsets[2 * p + 1])));
  if (2 * p < c.taps) store_bits(out + p++ * 64, rounded_pairs(load(from + c.offsets[c.taps - 1]), zero()));
  for (; p < rows; ++p) store_bits(out + p * 64, Bits{});
}

// Outputs of channels [channel0, channel0 + 32) and two vectors from their sums.
void finish_block(const Correlation& c, const float* sums, int64_t channel0, int64_t vector0,
                  int64_t vectors) {
  const int64_t channels = smaller(kBlock, c.channels - channel0);
  for (int64_t v = 0; v < vectors; ++v) {
    const PixelVector* vector = c.pixels.vectors + vector0 + v;
    for (int64_t s = vector[0].segments; s < vector[1].segments; ++s) {
      const PixelSegment& segment = c.pixels.segments[s];
      float* out = c.out + channel0 * c.out_channel + segment.out;
      for (int64_t r = 0; r < channels; ++r) {
        const Vec bias = c.bias == nullptr ? zero() : broadcast(c.bias[channel0 + r]);
        store_lanes(out + r * c.out_channel,
                    with_bias_and_relu(c, load(sums + r * kBlock + v * kWidth), bias), segment.lanes);
      }
    }
  }
}

}  // namespace

void correlate_outputs(const Correlation& c) {
  const Bf16CorrelationScratch place = bf16_correlation_scratch(c.channels, c.taps);
  auto* memory = static_cast<char*>(c.scratch);
  char *a = memory + place.a, *b = memory + place.b;
  auto* sums = reinterpret_cast<float*>(memory + place.sums);
  const int64_t steps = steps_of(c.taps), column_bytes = steps * kTileBytes;
  const TileRegisters registers;
  pack_a({c.weights, c.taps, 1}, c.channels, c.taps, a);
  for (int64_t v0 = 0; v0 < c.pixels.count; v0 += place.vectors) {
    const int64_t vectors = smaller(place.vectors, c.pixels.count - v0);
    for (int64_t v = 0; v < vectors; ++v)
      pack_vector(c, c.planes + c.pixels.vectors[v0 + v].base, b + v * column_bytes);
    for (int64_t v = 0; v < vectors; v += 2)
      for (int64_t i = 0; i < c.channels; i += kBlock) {
        const int64_t pair = smaller(2, vectors - v);
        multiply({.a = a + i / kTile * column_bytes,
                  .a_bytes = column_bytes,
                  .b = b + v * column_bytes,
                  .b_bytes = column_bytes,
                  .steps = steps,
                  .c = sums,
                  .ldc = kBlock,
                  .resume = false,
                  .row_tiles = c.channels - i > kTile ? 2 : 1,
                  .column_tiles = static_cast<int>(pair)});
        finish_block(c, sums, i, v0 + v, pair);
      }
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
