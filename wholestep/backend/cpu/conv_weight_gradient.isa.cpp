// The gradient of a convolution's weights: products of dy with shifted x, summed over pixels. Vector lanes
// are either neighbouring pixels, whose sums are added up at the end (few output channels), or output
// channels (many).
#include "wholestep/backend/cpu/conv_planes.isa.h"
#include "wholestep/backend/cpu/conv_weight_tiles.isa.h"
#include "wholestep/backend/cpu/gemm_pack.isa.h"
#include "wholestep/backend/cpu/kernels.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

// Per call: the tables and buffers, and the sizes of one group.
struct Job {
  const Conv2d& conv;
  Planes planes;
  int64_t taps, group_in, group_out;
  int64_t channel_floats;  // of one channel of x
  bool lanes_are_pixels;
  int64_t dy_stride;   // lanes are pixels: floats of a channel of dy; else floats of a pixel of dy
  int64_t sums_group;  // floats of one group's sums
  float *padded, *dy, *sums;
  int32_t* offsets;
};

// The share of lanes that do useful work decides; many channels as lanes also keep the sums small.
bool pixels_fill_vectors_better(const Conv2d& conv, int64_t pitch, int64_t channels) {
  if (channels >= kChannelsAsLanes) return false;
  const int64_t run = round_up((conv.y.out - 1) * pitch + conv.x.out, kWidth);
  return conv.y.out * conv.x.out * round_up(channels, kWidth) > channels * run;
}

void prepare_dy(const Job& job, const float* dy) {
  const Conv2d& conv = job.conv;
  if (job.lanes_are_pixels) {
    Planes planes;
    planes.pitch = job.planes.pitch;
    planes.floats = job.dy_stride;
    copy_channels(dy, job.group_out, conv.y.out, conv.x.out, planes, 0, job.dy);
  } else {
    const int64_t pixels = conv.y.out * conv.x.out;
    copy_transposed({dy, pixels, 1}, job.group_out, pixels, job.dy_stride, job.dy, job.dy_stride);
  }
}

void add_sample(const Job& job, const float* x, const float* dy, bool first) {
  const Conv2d& conv = job.conv;
  for (int64_t c = 0; c < conv.in_channels; ++c)
    copy_input_channel(conv, job.planes, x + c * conv.y.in * conv.x.in, job.padded + c * job.channel_floats);
  for (int64_t g = 0; g < conv.groups; ++g) {
    prepare_dy(job, dy + g * job.group_out * conv.y.out * conv.x.out);
    WeightSums sums = {.planes = job.padded + g * job.group_in * job.channel_floats,
                       .offsets = job.offsets,
                       .taps = job.taps,
                       .dy = job.dy,
                       .dy_stride = job.dy_stride,
                       .channels = job.group_out,
                       .rows = conv.y.out,
                       .columns = conv.x.out,
                       .pitch = job.planes.pitch,
                       .sums = job.sums + g * job.sums_group,
                       .resume = !first};
    job.lanes_are_pixels ? add_pixels_as_lanes(sums) : add_channels_as_lanes(sums);
  }
}

// dweight [out_channels, taps] from the sums of all samples.
void finish(const Job& job, float* dweight) {
  for (int64_t g = 0; g < job.conv.groups; ++g) {
    const float* sums = job.sums + g * job.sums_group;
    float* out = dweight + g * job.group_out * job.taps;
    if (job.lanes_are_pixels) {
      for (int64_t i = 0; i < job.group_out * job.taps; ++i) out[i] = sum(load(sums + i * kWidth));
    } else {
      copy_transposed({sums, job.dy_stride, 1}, job.taps, job.group_out, job.taps, out, job.taps);
    }
  }
}

void add_bias(const Conv2d& conv, const float* dy, bool first, float* dbias) {
  const int64_t pixels = conv.y.out * conv.x.out;
  for (int64_t c = 0; c < conv.out_channels; ++c, dy += pixels) {
    Vec sums[4] = {zero(), zero(), zero(), zero()};
    int64_t i = 0;
    for (; i + 4 * kWidth <= pixels; i += 4 * kWidth)
      for (int64_t v = 0; v < 4; ++v) sums[v] = sums[v] + load(dy + i + v * kWidth);
    for (; i < pixels; i += kWidth) sums[0] = sums[0] + load_first(dy + i, smaller(kWidth, pixels - i));
    const float total = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    dbias[c] = first ? total : dbias[c] + total;
  }
}

}  // namespace

void conv_weight_gradient(const Conv2d& conv, const ConvWeightGradient& operands, const SampleRange& samples,
                          void* scratch) {
  const WeightGradientScratch place = weight_gradient_scratch(conv);
  auto* memory = static_cast<char*>(scratch);
  const Planes planes = input_planes(conv);
  const int64_t group_in = conv.in_channels / conv.groups, group_out = conv.out_channels / conv.groups;
  const int64_t taps = group_in * conv.y.kernel * conv.x.kernel;
  auto at = [memory](int64_t bytes) { return reinterpret_cast<float*>(memory + bytes); };
  if (samples.begin == samples.end) {
    fill_zero(operands.dweight, conv.out_channels * taps);
    if (operands.dbias != nullptr) fill_zero(operands.dbias, conv.out_channels);
    return;
  }
  const bool lanes_are_pixels = pixels_fill_vectors_better(conv, planes.pitch, group_out);
  const Job job = {
      .conv = conv,
      .planes = planes,
      .taps = taps,
      .group_in = group_in,
      .group_out = group_out,
      .channel_floats = planes.phases_y * planes.phases_x * planes.floats,
      .lanes_are_pixels = lanes_are_pixels,
      .dy_stride = lanes_are_pixels ? gradient_run_floats(conv, planes) : round_up(group_out, kWidth),
      .sums_group = taps * (lanes_are_pixels ? group_out * kWidth : round_up(group_out, kWidth)),
      .padded = at(place.planes),
      .dy = at(place.dy),
      .sums = at(place.sums),
      .offsets = reinterpret_cast<int32_t*>(at(place.offsets))};
  input_offsets(conv, planes, job.offsets);
  fill_zero(job.padded, conv.in_channels * job.channel_floats);
  if (lanes_are_pixels) fill_zero(job.dy, group_out * job.dy_stride);

  const int64_t in_floats = conv.in_channels * conv.y.in * conv.x.in;
  const int64_t out_floats = conv.out_channels * conv.y.out * conv.x.out;
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    add_sample(job, operands.x + n * in_floats, operands.dy + n * out_floats, n == samples.begin);
    if (operands.dbias != nullptr)
      add_bias(conv, operands.dy + n * out_floats, n == samples.begin, operands.dbias);
  }
  finish(job, operands.dweight);
}

}  // namespace wholestep::WHOLESTEP_ISA
