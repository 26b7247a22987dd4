// The forward convolution: padded planes of one sample, then all outputs of that sample; where the planes are
// larger than the first-level cache and a few rows of them are not, a band of rows at a time.
#include "wholestep/backend/cpu/conv_correlate.isa.h"
#include "wholestep/backend/cpu/conv_planes.isa.h"
#include "wholestep/backend/cpu/conv_scratch.h"
#include "wholestep/backend/cpu/gemm_pack.isa.h"
#include "wholestep/backend/cpu/kernels.isa.h"

namespace wholestep::WHOLESTEP_ISA {

#if WHOLESTEP_BF16
constexpr bool kBands = false;  // tiles of bf16 gather their rows once for all outputs
#else
constexpr bool kBands = true;
#endif

void conv_forward(const Conv2d& conv, const ConvForward& operands, const SampleRange& samples,
                  void* scratch) {
  const int64_t group_in = conv.in_channels / conv.groups, group_out = conv.out_channels / conv.groups;
  const int64_t taps = group_in * conv.y.kernel * conv.x.kernel, out_plane = conv.y.out * conv.x.out;
  const Pieces bands(conv.y.out, kBands ? forward_band(conv) : conv.y.out);
  Conv2d band = conv;  // the rows of outputs that are computed at a time
  band.y.out = bands.largest();
  Planes planes = input_planes(band);
  OutputRows outputs = {conv.y.out, conv.x.out, conv.x.out, planes.pitch};
  const bool channel_lanes = kChannelLanes && prefer_channel_lanes(group_out, taps, outputs);
  const bool whole_rows = channel_lanes && allows_whole_rows(conv);  // lanes of channels read single ones
  auto geometry = [&] { return whole_rows ? at_stride_one(band) : band; };
  planes = input_planes(geometry());
  outputs.pitch = planes.pitch * (whole_rows ? conv.y.stride : 1);
  const ForwardScratch place = forward_scratch(conv);
  auto* memory = static_cast<char*>(scratch);
  auto* padded = reinterpret_cast<float*>(memory + place.planes);
  auto* offsets = reinterpret_cast<int32_t*>(memory + place.offsets);
  input_offsets(geometry(), planes, offsets);
  fill_zero(padded, conv.in_channels * planes.channel_floats);

  PixelTable pixels[2] = {};  // of bands of the largest number of rows, and of one less
  float* lane_weights = nullptr;
  if (channel_lanes) {
    lane_weights = reinterpret_cast<float*>(memory + place.lane_weights);
    transpose_weights(operands.weight, conv.groups, group_out, taps, lane_weights);
  } else {
    for (int64_t less = 0; less < (bands.count > 1 ? 2 : 1); ++less) {
      outputs.rows = bands.largest() - less;
      pixels[less] = make_pixel_table(outputs, kWidth, memory + (less ? place.last_pixels : place.pixels));
    }
  }
  for (int64_t b = 0; b < bands.count; ++b) {
    band.y.out = outputs.rows = bands.size(b);
    band.y.padding = conv.y.padding - bands.begin(b) * conv.y.stride;
    const Conv2d of_band = geometry();
    const InputCopier copy_input(of_band, planes);
    if (b > 0) clear_other_rows(of_band, planes, padded);
    for (int64_t n = samples.begin; n < samples.end; ++n) {
      copy_channels_of(copy_input, operands.x, operands.pixels, n * conv.in_channels * conv.y.in * conv.x.in,
                       conv.in_channels, padded);
      for (int64_t g = 0; g < conv.groups; ++g) {
        const int64_t first = g * group_out;
        correlate(
            {.planes = padded + g * group_in * planes.channel_floats,
             .offsets = offsets,
             .taps = taps,
             .channel_taps = 0,
             .weights = operands.weight + first * taps,
             .lane_weights =
                 lane_weights + (lane_weights == nullptr ? 0 : g * taps * round_up(group_out, kWidth)),
             .channels = group_out,
             .outputs = outputs,
             .step = whole_rows ? conv.x.stride : 1,
             .pixels = pixels[bands.largest() - bands.size(b)],
             .bias = operands.bias == nullptr ? nullptr : operands.bias + first,
             .relu = operands.relu,
             .out = operands.y + (n * conv.out_channels + first) * out_plane + bands.begin(b) * conv.x.out,
             .out_channel = out_plane,
             .scratch = memory + place.total});
      }
    }
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
