// The forward convolution: padded planes of one sample, then all outputs of that sample.
#include "wholestep/backend/cpu/conv_correlate.isa.h"
#include "wholestep/backend/cpu/conv_planes.isa.h"
#include "wholestep/backend/cpu/conv_scratch.h"
#include "wholestep/backend/cpu/gemm_pack.isa.h"
#include "wholestep/backend/cpu/kernels.isa.h"

namespace wholestep::WHOLESTEP_ISA {

void conv_forward(const Conv2d& conv, const ConvForward& operands, const SampleRange& samples,
                  void* scratch) {
  const Planes planes = input_planes(conv);
  const ForwardScratch place = forward_scratch(conv);
  auto* memory = static_cast<char*>(scratch);
  auto* padded = reinterpret_cast<float*>(memory + place.planes);
  auto* offsets = reinterpret_cast<int32_t*>(memory + place.offsets);
  input_offsets(conv, planes, offsets);
  fill_zero(padded, conv.in_channels * planes.channel_floats);

  const int64_t group_in = conv.in_channels / conv.groups, group_out = conv.out_channels / conv.groups;
  const int64_t taps = group_in * conv.y.kernel * conv.x.kernel, out_plane = conv.y.out * conv.x.out;
  const OutputRows outputs = {conv.y.out, conv.x.out, conv.x.out, planes.pitch};
  PixelTable pixels = {nullptr, nullptr, 0};
  float* lane_weights = nullptr;
  if (kChannelLanes && prefer_channel_lanes(group_out, taps, outputs)) {
    lane_weights = reinterpret_cast<float*>(memory + place.lane_weights);
    transpose_weights(operands.weight, conv.groups, group_out, taps, lane_weights);
  } else {
    pixels = make_pixel_table(outputs, kWidth, memory + place.pixels);
  }
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    copy_input(conv, planes, operands.x + n * conv.in_channels * conv.y.in * conv.x.in, padded);
    for (int64_t g = 0; g < conv.groups; ++g) {
      const int64_t first = g * group_out;
      correlate({.planes = padded + g * group_in * planes.channel_floats,
                 .offsets = offsets,
                 .taps = taps,
                 .weights = operands.weight + first * taps,
                 .lane_weights =
                     lane_weights + (lane_weights == nullptr ? 0 : g * taps * round_up(group_out, kWidth)),
                 .channels = group_out,
                 .outputs = outputs,
                 .pixels = pixels,
                 .bias = operands.bias == nullptr ? nullptr : operands.bias + first,
                 .relu = operands.relu,
                 .out = operands.y + (n * conv.out_channels + first) * out_plane,
                 .out_channel = out_plane,
                 .scratch = memory + place.total});
    }
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
