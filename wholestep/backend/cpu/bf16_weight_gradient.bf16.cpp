// The gradient of a convolution's weights in bf16: a matrix product of shifted x and dy whose k are pixels.
// Both run over the ends of rows at the pitch of the padded planes, where dy is zero.
#include "wholestep/backend/cpu/bf16.h"
#include "wholestep/backend/cpu/bf16_pack.bf16.h"
#include "wholestep/backend/cpu/conv_bias_gradient.isa.h"
#include "wholestep/backend/cpu/conv_planes.isa.h"
#include "wholestep/backend/cpu/kernels.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

// Per call: the sizes of one group, and the buffers.
struct Job {
  const Conv2d& conv;
  Planes planes;
  Bf16WeightGradientScratch place;
  int64_t taps, group_in, group_out;
  char* memory;

  float* padded() const { return reinterpret_cast<float*>(memory + place.planes); }
  int32_t* offsets() const { return reinterpret_cast<int32_t*>(memory + place.offsets); }
  uint16_t* dy() const { return reinterpret_cast<uint16_t*>(memory + place.dy); }
  int64_t blocks(int64_t extent) const { return (extent + kBlock - 1) / kBlock; }
  /// Of taps [32 i, 32 i + 32) and channels [32 j, 32 j + 32).
  float* sums(int64_t group, int64_t i, int64_t j) const {
    return reinterpret_cast<float*>(memory + place.sums) +
           ((group * blocks(taps) + i) * blocks(group_out) + j) * kBlock * kBlock;
  }
};

// dy of one group and sample [group_out, Ho, Wo], rounded, at the planes' pitch; what lies between is zero
// already.
void round_dy(const Job& job, const float* dy) {
  const int64_t columns = job.conv.x.out;
  for (int64_t c = 0; c < job.group_out; ++c)
    for (int64_t row = 0; row < job.conv.y.out; ++row, dy += columns) {
      uint16_t* out = job.dy() + c * job.place.dy_channel + row * job.planes.pitch;
      for (int64_t i = 0; i < columns; i += kWidth) {
        const int64_t lanes = smaller(kWidth, columns - i);
        const auto values = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(load_some(dy + i, lanes)));
        _mm256_mask_storeu_epi16(out + i, first_lanes(lanes), values);
      }
    }
}

// Tiles of A: a row is a tap, k are `steps` times 32 pixels from `first` on.
void pack_taps(const Job& job, const float* planes, int64_t first, int64_t steps, char* out) {
  for (int64_t t = 0; t < job.taps; ++t) {
    const float* from = planes + job.offsets()[t] + first;
    char* to = out + t / kTile * steps * kTileBytes + t % kTile * 64;
    for (int64_t s = 0; s < steps; ++s, from += kTileDepth, to += kTileBytes)
      store_bits(to, rounded(load(from), load(from + kWidth)));
  }
}

// Tiles of B: a column is an output channel.
void pack_dy(const Job& job, int64_t first, int64_t steps, char* out) {
  for (int64_t c = 0; c < job.group_out; c += kTile)
    for (int64_t s = 0; s < steps; ++s, out += kTileBytes) {
      Bits tile[kTile];
      for (int64_t i = 0; i < kTile; ++i)
        tile[i] = c + i < job.group_out
                      ? load_bits(job.dy() + (c + i) * job.place.dy_channel + first + s * kTileDepth)
                      : Bits{};
      transpose_pairs(tile);
      store_tile(tile, out);
    }
}

void add_group(const Job& job, int64_t group, const float* dy, bool first_sample) {
  char *a = job.memory + job.place.a, *b = job.memory + job.place.b;
  const float* planes = job.padded() + group * job.group_in * job.planes.channel_floats;
  round_dy(job, dy);
  for (int64_t first = 0; first < job.place.dy_channel; first += job.place.pixels) {
    const int64_t steps = steps_of(smaller(job.place.pixels, job.place.dy_channel - first));
    pack_taps(job, planes, first, steps, a);
    pack_dy(job, first, steps, b);
    for (int64_t i = 0; i < job.blocks(job.taps); ++i)
      for (int64_t j = 0; j < job.blocks(job.group_out); ++j)
        multiply({.a = a + 2 * i * steps * kTileBytes,
                  .a_bytes = steps * kTileBytes,
                  .b = b + 2 * j * steps * kTileBytes,
                  .b_bytes = steps * kTileBytes,
                  .steps = steps,
                  .c = job.sums(group, i, j),
                  .ldc = kBlock,
                  .resume = !first_sample || first > 0,
                  .row_tiles = job.taps - i * kBlock > kTile ? 2 : 1,
                  .column_tiles = job.group_out - j * kBlock > kTile ? 2 : 1});
  }
}

// dweight [out_channels, taps] from the sums of all samples.
void finish(const Job& job, float* dweight) {
  for (int64_t g = 0; g < job.conv.groups; ++g)
    for (int64_t i = 0; i < job.blocks(job.taps); ++i)
      for (int64_t j = 0; j < job.blocks(job.group_out); ++j) {
        const int64_t taps = smaller(kBlock, job.taps - i * kBlock),
                      channels = smaller(kBlock, job.group_out - j * kBlock);
        copy_transposed({job.sums(g, i, j), kBlock, 1}, taps, channels, taps,
                        dweight + (g * job.group_out + j * kBlock) * job.taps + i * kBlock, job.taps);
      }
}

}  // namespace

void conv_weight_gradient(const Conv2d& conv, const ConvWeightGradient& operands, const SampleRange& samples,
                          void* scratch) {
  const int64_t group_in = conv.in_channels / conv.groups, group_out = conv.out_channels / conv.groups;
  const Job job = {.conv = conv,
                   .planes = input_planes(conv),
                   .place = bf16_weight_gradient_scratch(conv),
                   .taps = group_in * conv.y.kernel * conv.x.kernel,
                   .group_in = group_in,
                   .group_out = group_out,
                   .memory = static_cast<char*>(scratch)};
  if (samples.begin == samples.end) {
    fill_zero(operands.dweight, conv.out_channels * job.taps);
    if (operands.dbias != nullptr) fill_zero(operands.dbias, conv.out_channels);
    return;
  }
  input_offsets(conv, job.planes, job.offsets());
  fill_zero(job.padded(), job.place.plane_floats);
  __builtin_memset(job.dy(), 0,
                   static_cast<std::size_t>(group_out * job.place.dy_channel) * sizeof(uint16_t));
  const int64_t in_floats = conv.in_channels * conv.y.in * conv.x.in, out_plane = conv.y.out * conv.x.out;
  const TileRegisters registers;
  const InputCopier copy_input(conv, job.planes);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    copy_input(Numbers{operands.x + n * in_floats}, conv.in_channels, job.padded());
    const float* dy = operands.dy + n * conv.out_channels * out_plane;
    for (int64_t g = 0; g < conv.groups; ++g)
      add_group(job, g, dy + g * group_out * out_plane, n == samples.begin);
    if (operands.dbias != nullptr) add_bias_gradient(conv, dy, n == samples.begin, operands.dbias);
  }
  finish(job, operands.dweight);
}

}  // namespace wholestep::WHOLESTEP_ISA
