// Where a convolution finds its operands: samples are copied into zero-padded planes in which every tap lies
// a constant distance from the output it belongs to, so that neighbouring outputs are one vector load per
// tap.
#pragma once
#include <cstdint>

#include "wholestep/backend/cpu/conv.h"

namespace wholestep {

/// One channel of one sample, padded. A stride of s splits an axis into s phases (padded position p + s * j
/// is element j of phase p): within a phase, what neighbouring outputs read is adjacent again. A channel has
/// `phases_y * phases_x` planes of `floats`; a plane has `rows` rows, `pitch` apart. Zeros at the end of a
/// row may be those before the next.
struct Planes {
  int64_t phases_y = 1, phases_x = 1, rows = 0, pitch = 0, floats = 0;
  int64_t channel_floats = 0;  ///< phases_y * phases_x * floats
};

/// Where the data of a tensor's axis lies on the planes' axis: elements [begin, end) of phase p hold the
/// tensor's elements source, source + stride, ...; all others are zero.
struct PlaneData {
  int64_t begin, end, source;
};

/// All outputs that stride 1 gives from the first to the last of `conv`'s, whose own lie strides apart in
/// them. Planes of this are in no phases: they are copied by whole rows, for what reads single elements.
Conv2d at_stride_one(const Conv2d& conv);
/// Whether such planes hold no more than those in phases, and columns are at most two elements apart.
bool allows_whole_rows(const Conv2d& conv);

/// x as the forward product and the weight gradient read it. Tap (ky, kx) of output (0, 0) is at
/// `input_offset` of its channel, that of output (y, x) `y * pitch + x` further.
Planes input_planes(const Conv2d& conv);
PlaneData input_data(const ConvAxis& axis, int64_t phase);
int64_t input_offset(const Conv2d& conv, const Planes& planes, int64_t ky, int64_t kx);
/// The offsets of the taps of one group, in the order of its weights: [in_channels / groups, Kh, Kw].
void input_offsets(const Conv2d& conv, const Planes& planes, int32_t* out);

/// dy as the input gradient reads it, with `lead` zeros before its first row and column; never in phases.
struct GradientPlanes {
  Planes planes;
  int64_t lead_y = 0, lead_x = 0;
};
GradientPlanes gradient_planes(const Conv2d& conv);

/// Stride s also splits the input gradient into s phases: positions first, first + s, ... (`count` of them)
/// of an axis sum over the taps t of this phase, taking dy at element `shift + i - gradient_step(t)` for the
/// i-th.
struct GradientPhase {
  int64_t first, count, shift;
};
GradientPhase gradient_phase(const ConvAxis& axis, int64_t phase);
bool in_phase(const ConvAxis& axis, int64_t tap, int64_t phase);
int64_t gradient_step(const ConvAxis& axis, int64_t tap);

}  // namespace wholestep
