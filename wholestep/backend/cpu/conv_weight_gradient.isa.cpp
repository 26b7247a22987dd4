// The gradient of a convolution's weights: products of dy with shifted x, summed over pixels. Vector lanes
// are either neighbouring pixels, whose sums are added up at the end (few output channels), or output
// channels (many), which read single elements of x.
#include "wholestep/backend/cpu/conv_bias_gradient.isa.h"
#include "wholestep/backend/cpu/conv_planes.isa.h"
#include "wholestep/backend/cpu/conv_scratch.h"
#include "wholestep/backend/cpu/conv_weight_tiles.isa.h"
#include "wholestep/backend/cpu/gemm_pack.isa.h"
#include "wholestep/backend/cpu/kernels.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

// Which dimension of the products fills vectors.
enum class Lanes {
  kRowsOfPixels,  // the pixels of a row that is whole vectors, straight from dy
  kRunsOfPixels,  // pixels across rows: dy is copied to the pitch of the planes, with zeros between rows
  kChannels,      // output channels: dy is transposed
};

// By the time it takes, in twentieths of a cycle: a tile of pixels loads and stores its sums, which costs as
// much as three vectors of pixels; lanes of channels cost the transposition of dy.
Lanes choose_lanes(const Conv2d& conv, int64_t pitch) {
  const int64_t channels = conv.out_channels / conv.groups;
  const int64_t taps = conv.in_channels / conv.groups * conv.y.kernel * conv.x.kernel;
  const int64_t run = (conv.y.out - 1) * pitch + conv.x.out;
  const bool whole_rows = conv.x.out % kWidth == 0;
  const int64_t vectors = whole_rows ? conv.y.out * conv.x.out / kWidth : (run + kWidth - 1) / kWidth;
  const int64_t by_channel = conv.y.out * conv.x.out * ((channels + kWidth - 1) / kWidth);
  const int64_t blocks = (vectors + kPixelBlock - 1) / kPixelBlock;
  const int64_t pixel_cost = taps * channels * 12 * (vectors + 3 * blocks);
  const int64_t channel_cost = by_channel * (taps * 11 + kWidth * 6);
  if (channel_cost < pixel_cost || !pixel_lanes_fit(conv)) return Lanes::kChannels;
  return whole_rows ? Lanes::kRowsOfPixels : Lanes::kRunsOfPixels;
}

// Per call: the sizes of one group, the tables and the buffers.
struct Job {
  const Conv2d& conv;
  Planes planes;
  bool whole_rows;  // of planes, in no phases
  int64_t taps, group_in, group_out;
  Lanes lanes;
  int64_t dy_stride;   // floats of a pixel of dy where lanes are channels, of a channel elsewhere
  int64_t sums_group;  // floats of one group's sums
  float *padded, *dy, *sums;
  int32_t* offsets;
  int32_t* vectors;
  int64_t vector_count;
  const InputCopier& copy_input;
};

int64_t list_vectors(const Conv2d& conv, int64_t pitch, Lanes lanes, int32_t* out) {
  const int32_t* first = out;
  if (lanes == Lanes::kRunsOfPixels)
    for (int64_t i = 0; i < (conv.y.out - 1) * pitch + conv.x.out; i += kWidth)
      *out++ = static_cast<int32_t>(i);
  if (lanes == Lanes::kRowsOfPixels)
    for (int64_t row = 0; row < conv.y.out; ++row)
      for (int64_t i = 0; i < conv.x.out; i += kWidth) *out++ = static_cast<int32_t>(row * pitch + i);
  return out - first;
}

// The products of one sample's x and dy of a group. Input channels go by in blocks whose planes stay in the
// first-level cache.
void add_group(const Job& job, int64_t group, const ConvWeightGradient& operands, int64_t x, const float* dy,
               bool first) {
  const Conv2d& conv = job.conv;
  const int64_t pixels = conv.y.out * conv.x.out, kernel = conv.y.kernel * conv.x.kernel;
  if (job.lanes == Lanes::kRunsOfPixels)
    copy_channels(dy, job.group_out, conv.y.out, conv.x.out, job.dy, job.dy_stride, job.planes.pitch);
  if (job.lanes == Lanes::kChannels)
    copy_transposed({dy, pixels, 1}, job.group_out, pixels, job.dy_stride, job.dy, job.dy_stride);
  const Pieces blocks(job.group_in, weight_gradient_channels(conv));
  for (int64_t b = 0; b < blocks.count; ++b) {
    copy_channels_of(job.copy_input, operands.x, operands.pixels, x + blocks.begin(b) * conv.y.in * conv.x.in,
                     blocks.size(b), job.padded);
    WeightSums sums = {
        .planes = job.padded,
        .offsets = job.offsets,
        .taps = blocks.size(b) * kernel,
        .dy = job.lanes == Lanes::kRowsOfPixels ? dy : job.dy,
        .dy_stride = job.dy_stride,
        .channels = job.group_out,
        .rows = conv.y.out,
        .columns = conv.x.out,
        .pitch = job.planes.pitch * (job.whole_rows ? conv.y.stride : 1),
        .step = job.whole_rows ? conv.x.stride : 1,
        .adjacent = job.whole_rows && conv.x.dilation == 1 ? conv.x.kernel : 1,
        .vectors = job.vectors,
        .vector_count = job.vector_count,
        .sums = job.sums + group * job.sums_group +
                blocks.begin(b) * kernel * (job.lanes == Lanes::kChannels ? job.dy_stride : kWidth),
        .sums_stride = job.taps,
        .resume = !first};
    job.lanes == Lanes::kChannels ? add_channels_as_lanes(sums) : add_pixels_as_lanes(sums);
  }
}

// dweight [out_channels, taps] from the sums of all samples.
void finish(const Job& job, float* dweight) {
  for (int64_t g = 0; g < job.conv.groups; ++g) {
    const float* sums = job.sums + g * job.sums_group;
    float* out = dweight + g * job.group_out * job.taps;
    if (job.lanes != Lanes::kChannels) {
      for (int64_t i = 0; i < job.group_out * job.taps; ++i) out[i] = sum(load(sums + i * kWidth));
    } else {
      copy_transposed({sums, job.dy_stride, 1}, job.taps, job.group_out, job.taps, out, job.taps);
    }
  }
}

}  // namespace

void conv_weight_gradient(const Conv2d& conv, const ConvWeightGradient& operands, const SampleRange& samples,
                          void* scratch) {
  const WeightGradientScratch place = weight_gradient_scratch(conv);
  auto* memory = static_cast<char*>(scratch);
  const int64_t group_in = conv.in_channels / conv.groups, group_out = conv.out_channels / conv.groups;
  const int64_t taps = group_in * conv.y.kernel * conv.x.kernel;
  auto at = [memory](int64_t bytes) { return reinterpret_cast<float*>(memory + bytes); };
  if (samples.begin == samples.end) {
    fill_zero(operands.dweight, conv.out_channels * taps);
    if (operands.dbias != nullptr) fill_zero(operands.dbias, conv.out_channels);
    return;
  }
  const Lanes lanes = choose_lanes(conv, input_planes(conv).pitch);
  const bool whole_rows = lanes == Lanes::kChannels && allows_whole_rows(conv);
  const Conv2d geometry = whole_rows ? at_stride_one(conv) : conv;
  const Planes planes = input_planes(geometry);
  const int64_t in_floats = conv.in_channels * conv.y.in * conv.x.in, out_plane = conv.y.out * conv.x.out;
  const int64_t padded_channels = round_up(group_out, kWidth), run = gradient_run_floats(conv, planes.pitch);
  const InputCopier copy_input(geometry, planes);
  const Job job = {
      .conv = conv,
      .planes = planes,
      .whole_rows = whole_rows,
      .taps = taps,
      .group_in = group_in,
      .group_out = group_out,
      .lanes = lanes,
      .dy_stride = lanes == Lanes::kChannels       ? padded_channels
                   : lanes == Lanes::kRunsOfPixels ? run
                                                   : out_plane,
      .sums_group = taps * (lanes == Lanes::kChannels ? padded_channels : group_out * kWidth),
      .padded = at(place.planes),
      .dy = at(place.dy),
      .sums = at(place.sums),
      .offsets = reinterpret_cast<int32_t*>(at(place.offsets)),
      .vectors = reinterpret_cast<int32_t*>(at(place.vectors)),
      .vector_count = list_vectors(conv, planes.pitch, lanes, reinterpret_cast<int32_t*>(at(place.vectors))),
      .copy_input = copy_input};
  input_offsets(geometry, planes, job.offsets);
  fill_zero(job.padded, weight_gradient_channels(conv) * planes.channel_floats);
  if (lanes == Lanes::kRunsOfPixels) fill_zero(job.dy, group_out * run);

  for (int64_t n = samples.begin; n < samples.end; ++n) {
    const float* dy = operands.dy + n * conv.out_channels * out_plane;
    for (int64_t g = 0; g < conv.groups; ++g)
      add_group(job, g, operands, n * in_floats + g * group_in * conv.y.in * conv.x.in,
                dy + g * group_out * out_plane, n == samples.begin);
    if (operands.dbias != nullptr) add_bias_gradient(conv, dy, n == samples.begin, operands.dbias);
  }
  finish(job, operands.dweight);
}

}  // namespace wholestep::WHOLESTEP_ISA
