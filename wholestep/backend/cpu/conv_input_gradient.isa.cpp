// The gradient of a convolution's input, itself a convolution of dy with the weights turned around: one per
// phase of the stride, each with the taps that reach it.
#include "wholestep/backend/cpu/conv_correlate.isa.h"
#include "wholestep/backend/cpu/conv_planes.isa.h"
#include "wholestep/backend/cpu/conv_scratch.h"
#include "wholestep/backend/cpu/gemm_pack.isa.h"
#include "wholestep/backend/cpu/kernels.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

// What one phase needs for every sample, built once a call in the scratch memory.
struct Phase {
  GradientPhase y, x;
  int64_t taps;          // of one group: out channels, then kernel rows and columns
  int64_t channel_taps;  // of an out channel, where vectors leave some out; else 0
  const float* weights;  // [in_channels, taps]
  const float* lane_weights;
  const int32_t* offsets;  // [taps]
  OutputRows outputs;
  PixelTable pixels;
};
static_assert(sizeof(Phase) <= kGradientPhaseBytes);

// Where the next phase's tables go, and room for a list of its kernel elements.
struct Builder {
  float *weights, *lane_weights;
  int32_t* offsets;
  int32_t* kernel_elements;
  char* pixels;
};

// The kernel elements that reach a phase; offsets[i] says where the i-th reads in its channel of dy.
int64_t list_taps(const Conv2d& conv, const GradientPlanes& dy, int64_t phase_y, int64_t phase_x,
                  const Builder& out) {
  const GradientPhase y = gradient_phase(conv.y, phase_y), x = gradient_phase(conv.x, phase_x);
  const int64_t origin = (y.shift + dy.lead_y) * dy.planes.pitch + x.shift + dy.lead_x;
  int64_t count = 0;
  for (int64_t ky = 0; ky < conv.y.kernel; ++ky) {
    if (!in_phase(conv.y, ky, phase_y)) continue;
    for (int64_t kx = 0; kx < conv.x.kernel; ++kx) {
      if (!in_phase(conv.x, kx, phase_x)) continue;
      out.kernel_elements[count] = static_cast<int32_t>(ky * conv.x.kernel + kx);
      out.offsets[count++] = static_cast<int32_t>(origin - gradient_step(conv.y, ky) * dy.planes.pitch -
                                                  gradient_step(conv.x, kx));
    }
  }
  return count;
}

// Leaves out the kernel rows that only read zeros above or below dy for the outputs of a vector, where those
// are an eighth of all: a small image under a large kernel. `elements` of the kernel reach the phase.
void leave_out_zeros(const Conv2d& conv, int64_t phase_y, int64_t elements, Phase& phase) {
  int64_t rows = 0, step0 = 0, between = 0;  // the phase's kernel rows read dy at equal distances
  int64_t zeros = 0;                         // in rows of outputs
  for (int64_t ky = 0; ky < conv.y.kernel; ++ky) {
    if (!in_phase(conv.y, ky, phase_y)) continue;
    const int64_t step = gradient_step(conv.y, ky), above = step - phase.y.shift;
    if (rows == 0) step0 = step;
    if (rows++ == 1) between = step - step0;
    const int64_t below = phase.y.count - conv.y.out - above;
    zeros += (above > 0 ? above : 0) + (below > 0 ? below : 0);
  }
  if (zeros * 8 < rows * phase.y.count || rows == 0) return;
  const int64_t columns = elements / rows;
  for (int64_t v = 0; v < phase.pixels.count; ++v) {
    PixelVector& vector = phase.pixels.vectors[v];
    const int64_t top = vector.base / phase.outputs.pitch + phase.y.shift,
                  bottom = (vector.base + kWidth - 1) / phase.outputs.pitch + phase.y.shift;
    int64_t first = 0, end = rows;
    while (first < end && step0 + first * between < top - (conv.y.out - 1)) ++first;
    while (first < end && step0 + (end - 1) * between > bottom) --end;
    vector.first_tap = static_cast<int32_t>(first * columns);
    vector.end_tap = static_cast<int32_t>(end * columns);
  }
  phase.channel_taps = elements;
}

Phase build_phase(const Conv2d& conv, const GradientPlanes& dy, const float* weight, int64_t phase_y,
                  int64_t phase_x, Builder& next) {
  const int64_t group_in = conv.in_channels / conv.groups, group_out = conv.out_channels / conv.groups;
  const int64_t kernel = conv.y.kernel * conv.x.kernel;
  const int64_t elements = list_taps(conv, dy, phase_y, phase_x, next);
  Phase phase = {.y = gradient_phase(conv.y, phase_y),
                 .x = gradient_phase(conv.x, phase_x),
                 .taps = group_out * elements,
                 .channel_taps = 0,
                 .weights = next.weights,
                 .lane_weights = nullptr,
                 .offsets = next.offsets,
                 .outputs = gradient_outputs(conv, dy, phase_y, phase_x),
                 .pixels = {nullptr, nullptr, 0}};
  for (int64_t i = elements; i < phase.taps; ++i)
    next.offsets[i] = next.offsets[i - elements] + static_cast<int32_t>(dy.planes.floats);
  next.offsets += phase.taps;
  const RowCopier copy(kernel);
  const int64_t from_next = group_in * kernel;
  for (int64_t ci = 0; ci < conv.in_channels; ++ci, next.weights += phase.taps) {
    const float* from = weight + ci / group_in * group_out * from_next + ci % group_in * kernel;
    if (elements == kernel)
      for (int64_t co = 0; co < group_out; ++co) copy(from + co * from_next, next.weights + co * kernel);
    else
      for (int64_t i = 0; i < elements; ++i)
        for (int64_t co = 0; co < group_out; ++co)
          next.weights[co * elements + i] = from[co * from_next + next.kernel_elements[i]];
  }
  if (phase.outputs.rows == 0 || phase.outputs.columns == 0) return phase;
  if (kChannelLanes && prefer_channel_lanes(group_in, phase.taps, phase.outputs)) {
    transpose_weights(phase.weights, conv.groups, group_in, phase.taps, next.lane_weights);
    phase.lane_weights = next.lane_weights;
    next.lane_weights += conv.groups * phase.taps * round_up(group_in, kWidth);
  } else {
    phase.pixels = make_pixel_table(phase.outputs, kWidth, next.pixels);
    leave_out_zeros(conv, phase_y, elements, phase);
    next.pixels += pixel_table_bytes(phase.outputs);
  }
  return phase;
}

// One phase of one sample's dx.
void run_phase(const Conv2d& conv, const GradientPlanes& dy, const Phase& phase, const float* padded,
               float* out, int64_t out_channel, char* scratch) {
  const int64_t group_in = conv.in_channels / conv.groups, group_out = conv.out_channels / conv.groups;
  if (phase.outputs.rows == 0 || phase.outputs.columns == 0) return;
  for (int64_t g = 0; g < conv.groups; ++g)
    correlate({.planes = padded + g * group_out * dy.planes.floats,
               .offsets = phase.offsets,
               .taps = phase.taps,
               .channel_taps = phase.channel_taps,
               .weights = phase.weights + g * group_in * phase.taps,
               .lane_weights = phase.lane_weights == nullptr
                                   ? nullptr
                                   : phase.lane_weights + g * phase.taps * round_up(group_in, kWidth),
               .channels = group_in,
               .outputs = phase.outputs,
               .step = 1,
               .pixels = phase.pixels,
               .bias = nullptr,
               .relu = false,
               .out = out + g * group_in * out_channel,
               .out_channel = out_channel,
               .scratch = scratch});
}

// out[i] = 0 where mask[i] is not above 0.
void apply_mask(const float* mask, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) store(out + i, masked(load(out + i), load(mask + i)));
  if (i < count)
    store_first(out + i, masked(load_first(out + i, count - i), load_first(mask + i, count - i)), count - i);
}

// Makes rows of `length` outputs of those at even and odd places; 0 where there is a mask and it is not above
// 0.
struct RowMerger {
  explicit RowMerger(int64_t length) : whole(length / (2 * kWidth) * kWidth) {
    const int64_t rest = length - 2 * whole;
    even_lanes = lanes_below((rest + 1) / 2), odd_lanes = lanes_below(rest / 2);
    low = lanes_below(rest), high = lanes_below(rest - kWidth);
  }
  WHOLESTEP_INLINE void operator()(const float* even, const float* odd, const float* mask, float* out) const {
    for (int64_t i = 0; i < whole; i += kWidth)
      merge(load(even + i), load(odd + i), mask == nullptr ? nullptr : mask + 2 * i, ~0u, ~0u, out + 2 * i);
    if (low != 0)
      merge(load_lanes(even + whole, even_lanes), load_lanes(odd + whole, odd_lanes),
            mask == nullptr ? nullptr : mask + 2 * whole, low, high, out + 2 * whole);
  }
  WHOLESTEP_INLINE static void merge(Vec even, Vec odd, const float* mask, uint32_t low, uint32_t high,
                                     float* out) {
    Vec first = shuffle<kFirstPairs>(even, odd), last = shuffle<kLastPairs>(even, odd);
    if (mask != nullptr) {
      first = masked(first, load_lanes(mask, low));
      if (high != 0) last = masked(last, load_lanes(mask + kWidth, high));
    }
    store_lanes(out, first, low);
    if (high != 0) store_lanes(out + kWidth, last, high);
  }
  int64_t whole;                              // of each, in whole vectors
  uint32_t even_lanes, odd_lanes, low, high;  // of the vectors behind them
};

// Rows of dx from the column phases that `columns` holds as [stride, in_channels, rows, slot].
void merge_columns(const Conv2d& conv, const Phase* phases, const float* columns, int64_t slot,
                   const float* mask, float* dx) {
  const GradientPhase& y = phases[0].y;
  const int64_t stride = conv.x.stride, phase_floats = conv.in_channels * y.count * slot;
  const int64_t even = phases[0].x.first == 0 ? 0 : 1;
  const RowMerger merge(conv.x.in);
  for (int64_t channel = 0; channel < conv.in_channels; ++channel) {
    for (int64_t row = 0; row < y.count; ++row, columns += slot) {
      const int64_t at = (channel * conv.y.in + y.first + row * conv.y.stride) * conv.x.in;
      float* out = dx + at;
      const float* of_row = mask == nullptr ? nullptr : mask + at;
      if (stride == 2) {
        merge(columns + even * phase_floats, columns + (1 - even) * phase_floats, of_row, out);
        continue;
      }
      for (int64_t p = 0; p < stride; ++p)
        for (int64_t j = 0; j < phases[p].x.count; ++j)
          out[phases[p].x.first + j * stride] = columns[p * phase_floats + j];
      if (of_row != nullptr) apply_mask(of_row, conv.x.in, out);
    }
  }
}

}  // namespace

void conv_input_gradient(const Conv2d& conv, const ConvInputGradient& operands, const SampleRange& samples,
                         void* scratch) {
  const GradientPlanes dy = gradient_planes(conv);
  const InputGradientScratch place = input_gradient_scratch(conv);
  auto* memory = static_cast<char*>(scratch);
  auto* padded = reinterpret_cast<float*>(memory + place.planes);
  auto* columns = reinterpret_cast<float*>(memory + place.columns);
  auto* phases = reinterpret_cast<Phase*>(memory + place.phases);
  Builder next = {reinterpret_cast<float*>(memory + place.phase_weights),
                  reinterpret_cast<float*>(memory + place.phase_lane_weights),
                  reinterpret_cast<int32_t*>(memory + place.phase_offsets),
                  reinterpret_cast<int32_t*>(memory + place.phase_taps), memory + place.phase_pixels};
  for (int64_t p = 0; p < conv.y.stride * conv.x.stride; ++p)
    phases[p] = build_phase(conv, dy, operands.weight, p / conv.x.stride, p % conv.x.stride, next);
  fill_zero(padded, conv.out_channels * dy.planes.floats);

  const int64_t in_plane = conv.y.in * conv.x.in, out_plane = conv.y.out * conv.x.out;
  const int64_t slot = gradient_slot(conv);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    copy_channels(operands.dy + n * conv.out_channels * out_plane, conv.out_channels, conv.y.out, conv.x.out,
                  padded + dy.lead_y * dy.planes.pitch + dy.lead_x, dy.planes.floats, dy.planes.pitch);
    float* dx = operands.dx + n * conv.in_channels * in_plane;
    const float* mask = operands.mask == nullptr ? nullptr : operands.mask + n * conv.in_channels * in_plane;
    for (int64_t phase_y = 0; phase_y < conv.y.stride; ++phase_y) {
      const Phase* row = phases + phase_y * conv.x.stride;
      if (conv.x.stride == 1) {
        run_phase(conv, dy, *row, padded, dx + row->y.first * conv.x.in, in_plane, memory + place.total);
        continue;
      }
      const int64_t channel = row->y.count * slot;
      for (int64_t phase_x = 0; phase_x < conv.x.stride; ++phase_x)
        run_phase(conv, dy, row[phase_x], padded, columns + phase_x * conv.in_channels * channel, channel,
                  memory + place.total);
      merge_columns(conv, row, columns, slot, mask, dx);
    }
    if (conv.x.stride == 1 && mask != nullptr) apply_mask(mask, conv.in_channels * in_plane, dx);
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
