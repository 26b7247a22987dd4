// The integer arithmetic of padded planes.
#include "wholestep/backend/cpu/conv_geometry.h"

#include <algorithm>

#include "wholestep/backend/cpu/gemm.h"
#include "wholestep/base/integers.h"

namespace wholestep {
namespace {

constexpr int64_t kWidestVector = 16;

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0); }

int64_t reach(const ConvAxis& a) { return (a.kernel - 1) * a.dilation; }  // from the first tap to the last
int64_t phases(const ConvAxis& a) { return std::min(a.stride, reach(a) + 1); }
int64_t extent(const ConvAxis& a) { return a.out + reach(a) / a.stride; }  // of a phase

// Reading a vector may run past the last row; one more cache line keeps channels out of each other's cache
// sets.
int64_t plane_floats(int64_t rows, int64_t pitch, int64_t row_extent) {
  return gemm_padded((rows - 1) * pitch + row_extent + kWidestVector - 1);
}

struct Span {
  int64_t low, high;
};
// The dy elements an axis of the input gradient reads: from low to high, both included.
Span gradient_reads(const ConvAxis& axis) {
  Span span = {0, axis.out - 1};
  for (int64_t tap = 0; tap < axis.kernel; ++tap) {
    GradientPhase phase = gradient_phase(axis, tap * axis.dilation % axis.stride);
    if (phase.count == 0) continue;
    span.low = std::min(span.low, phase.shift - gradient_step(axis, tap));
    span.high = std::max(span.high, phase.shift + phase.count - 1 - gradient_step(axis, tap));
  }
  return span;
}

}  // namespace

int64_t conv_outputs(const ConvAxis& axis) {
  return floor_div(axis.in + 2 * axis.padding - reach(axis) - 1, axis.stride) + 1;
}

Conv2d at_stride_one(const Conv2d& conv) {
  Conv2d result = conv;
  for (ConvAxis* axis : {&result.y, &result.x}) {
    axis->out = (axis->out - 1) * axis->stride + 1;
    axis->stride = 1;
  }
  return result;
}

bool allows_whole_rows(const Conv2d& conv) {
  return conv.x.stride <= 2 && phases(conv.x) == conv.x.stride && phases(conv.y) == conv.y.stride;
}

Planes input_planes(const Conv2d& conv) {
  const int64_t row_extent = extent(conv.x);
  int64_t shared = row_extent;  // zeros that end one row and begin the next
  for (int64_t phase = 0; phase < phases(conv.x); ++phase) {
    PlaneData data = input_data(conv.x, phase);
    shared = std::min({shared, data.begin, row_extent - data.end});
  }
  Planes planes = {.phases_y = phases(conv.y), .phases_x = phases(conv.x), .rows = extent(conv.y)};
  planes.pitch = std::max(row_extent - shared, conv.x.out);
  planes.floats = plane_floats(planes.rows, planes.pitch, row_extent);
  planes.channel_floats = planes.phases_y * planes.phases_x * planes.floats;
  return planes;
}

PlaneData input_data(const ConvAxis& axis, int64_t phase) {
  int64_t begin = std::clamp<int64_t>(ceil_div(axis.padding - phase, axis.stride), 0, extent(axis));
  int64_t end = floor_div(axis.in - 1 + axis.padding - phase, axis.stride) + 1;
  return {begin, std::clamp(end, begin, extent(axis)), phase + begin * axis.stride - axis.padding};
}

int64_t input_offset(const Conv2d& conv, const Planes& planes, int64_t ky, int64_t kx) {
  int64_t y = ky * conv.y.dilation, x = kx * conv.x.dilation;
  int64_t plane = y % conv.y.stride * planes.phases_x + x % conv.x.stride;
  return plane * planes.floats + y / conv.y.stride * planes.pitch + x / conv.x.stride;
}

GradientPhase gradient_phase(const ConvAxis& axis, int64_t phase) {
  int64_t shift = std::max<int64_t>(0, ceil_div(axis.padding - phase, axis.stride));
  int64_t first = phase + shift * axis.stride - axis.padding;
  return {first, std::max<int64_t>(0, ceil_div(axis.in - first, axis.stride)), shift};
}

bool in_phase(const ConvAxis& axis, int64_t tap, int64_t phase) {
  return tap * axis.dilation % axis.stride == phase;
}

int64_t gradient_step(const ConvAxis& axis, int64_t tap) { return tap * axis.dilation / axis.stride; }

GradientPlanes gradient_planes(const Conv2d& conv) {
  const Span y = gradient_reads(conv.y), x = gradient_reads(conv.x);
  const int64_t row_extent = x.high - x.low + 1;
  const int64_t shared = std::min(-x.low, x.high - (conv.x.out - 1));
  int64_t widest = 0;
  for (int64_t phase = 0; phase < conv.x.stride; ++phase)
    widest = std::max(widest, gradient_phase(conv.x, phase).count);
  GradientPlanes result = {.planes = {}, .lead_y = -y.low, .lead_x = -x.low};
  result.planes.rows = y.high - y.low + 1;
  result.planes.pitch = std::max(row_extent - shared, widest);
  result.planes.floats = plane_floats(result.planes.rows, result.planes.pitch, row_extent);
  result.planes.channel_floats = result.planes.floats;
  return result;
}

void input_offsets(const Conv2d& conv, const Planes& planes, int32_t* out) {
  const int64_t kernel = conv.y.kernel * conv.x.kernel, taps = conv.in_channels / conv.groups * kernel;
  for (int64_t ky = 0; ky < conv.y.kernel; ++ky)
    for (int64_t kx = 0; kx < conv.x.kernel; ++kx)
      out[ky * conv.x.kernel + kx] = static_cast<int32_t>(input_offset(conv, planes, ky, kx));
  for (int64_t i = kernel; i < taps; ++i)
    out[i] = out[i - kernel] + static_cast<int32_t>(planes.channel_floats);
}

}  // namespace wholestep
