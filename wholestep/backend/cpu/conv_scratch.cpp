// Sizes of scratch memory, enough for every instruction set.
#include "wholestep/backend/cpu/conv_scratch.h"

#include <algorithm>

#include "wholestep/backend/backend.h"
#include "wholestep/backend/cpu/gemm.h"

namespace wholestep {
namespace {

constexpr int64_t kFloat = sizeof(float), kOffset = sizeof(int32_t), kNarrowestVector = 4, kWidestVector = 16;

// Planes of at most so many bytes leave room in the first-level cache for what is computed from them.
constexpr int64_t kCachedPlanes = 24 * 1024;

// Hands out consecutive stretches of memory, each aligned.
struct Layout {
  int64_t total = 0;
  int64_t take(int64_t count, int64_t item_bytes = 1) {
    int64_t begin = total;
    total += aligned(count * item_bytes);
    return begin;
  }
};

// In whole vectors.
int64_t padded_channels(int64_t channels) {
  return (channels + kWidestVector - 1) / kWidestVector * kWidestVector;
}

// Of planes in phases or by whole rows.
int64_t most_channel_floats(const Conv2d& conv) {
  return std::max(input_planes(conv).channel_floats, input_planes(at_stride_one(conv)).channel_floats);
}

int64_t taps_of_group(const Conv2d& conv) {
  return conv.in_channels / conv.groups * conv.y.kernel * conv.x.kernel;
}

}  // namespace

int64_t forward_band(const Conv2d& conv) {
  const Planes planes = input_planes(conv);
  const int64_t row_bytes = conv.in_channels * planes.phases_y * planes.phases_x * planes.pitch * kFloat;
  const int64_t rows = kCachedPlanes / row_bytes - (planes.rows - conv.y.out);
  return rows < 4 ? conv.y.out : std::min(rows, conv.y.out);
}

ForwardScratch forward_scratch(const Conv2d& conv) {
  const Planes planes = input_planes(conv);
  Layout layout;
  ForwardScratch place = {};
  place.planes = layout.take(conv.in_channels * most_channel_floats(conv), kFloat);
  place.offsets = layout.take(taps_of_group(conv), kOffset);
  place.pixels = layout.take(pixel_table_bytes({conv.y.out, conv.x.out, conv.x.out, planes.pitch}));
  place.last_pixels = layout.take(pixel_table_bytes({conv.y.out, conv.x.out, conv.x.out, planes.pitch}));
  place.lane_weights = layout.take(
      conv.groups * padded_channels(conv.out_channels / conv.groups) * taps_of_group(conv), kFloat);
  place.total = layout.total;
  return place;
}

int64_t gradient_slot(const Conv2d& conv) { return (conv.x.in + conv.x.stride - 1) / conv.x.stride; }

OutputRows gradient_outputs(const Conv2d& conv, const GradientPlanes& dy, int64_t phase_y, int64_t phase_x) {
  const int64_t row_floats = conv.x.stride == 1 ? conv.y.stride * conv.x.in : gradient_slot(conv);
  return {gradient_phase(conv.y, phase_y).count, gradient_phase(conv.x, phase_x).count, row_floats,
          dy.planes.pitch};
}

InputGradientScratch input_gradient_scratch(const Conv2d& conv) {
  const GradientPlanes dy = gradient_planes(conv);
  const int64_t kernel = conv.y.kernel * conv.x.kernel, group_out = conv.out_channels / conv.groups;
  const int64_t phases = conv.y.stride * conv.x.stride;
  int64_t pixels = 0;
  for (int64_t p = 0; p < phases; ++p) {
    OutputRows outputs = gradient_outputs(conv, dy, p / conv.x.stride, p % conv.x.stride);
    if (outputs.rows > 0 && outputs.columns > 0) pixels += pixel_table_bytes(outputs);
  }
  Layout layout;
  InputGradientScratch place = {};
  place.planes = layout.take(conv.out_channels * dy.planes.floats, kFloat);
  place.phases = layout.take(phases, kGradientPhaseBytes);
  if (conv.x.stride > 1) {
    const int64_t rows = (conv.y.in + conv.y.stride - 1) / conv.y.stride;  // of the largest phase
    place.columns = layout.take(conv.x.stride * conv.in_channels * rows * gradient_slot(conv), kFloat);
  }
  place.phase_weights = layout.take(conv.in_channels * group_out * kernel, kFloat);
  place.phase_lane_weights =
      layout.take(conv.groups * padded_channels(conv.in_channels / conv.groups) * group_out * kernel, kFloat);
  place.phase_offsets = layout.take(group_out * kernel, kOffset);
  place.phase_taps = layout.take(kernel, kOffset);
  place.phase_pixels = layout.take(pixels);
  place.total = layout.total;
  return place;
}

int64_t weight_gradient_channels(const Conv2d& conv) {
  const int64_t group_in = conv.in_channels / conv.groups;
  return std::clamp<int64_t>(kCachedPlanes / (input_planes(conv).channel_floats * kFloat), 1, group_in);
}

bool pixel_lanes_fit(const Conv2d& conv) { return conv.out_channels * taps_of_group(conv) <= 8192; }

int64_t gradient_run_floats(const Conv2d& conv, int64_t pitch) {
  return gemm_padded((conv.y.out - 1) * pitch + conv.x.out);
}

WeightGradientScratch weight_gradient_scratch(const Conv2d& conv) {
  const Planes planes = input_planes(conv);
  const int64_t group_out = conv.out_channels / conv.groups, padded = padded_channels(group_out);
  const int64_t taps = taps_of_group(conv);
  int64_t dy = conv.y.out * conv.x.out * padded, sums = conv.groups * taps * padded;
  if (pixel_lanes_fit(conv)) {
    dy = std::max(dy, group_out * gradient_run_floats(conv, planes.pitch));
    sums = std::max(sums, conv.out_channels * taps * kWidestVector);
  }
  Layout layout;
  WeightGradientScratch place = {};
  place.planes = layout.take(weight_gradient_channels(conv) * most_channel_floats(conv), kFloat);
  place.offsets = layout.take(taps, kOffset);
  const int64_t most_vectors =
      conv.y.out * std::max(planes.pitch, conv.x.out) / kNarrowestVector + conv.y.out + 1;
  place.vectors = layout.take(most_vectors, kOffset);
  place.dy = layout.take(dy, kFloat);
  place.sums = layout.take(sums, kFloat);
  place.total = layout.total;
  return place;
}

int64_t conv_forward_workspace_bytes(const Conv2d& conv) { return forward_scratch(conv).total; }
int64_t conv_input_gradient_workspace_bytes(const Conv2d& conv) { return input_gradient_scratch(conv).total; }
int64_t conv_weight_gradient_workspace_bytes(const Conv2d& conv) {
  return weight_gradient_scratch(conv).total;
}

}  // namespace wholestep
