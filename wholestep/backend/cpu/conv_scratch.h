// Where a convolution's kernels keep what in their scratch memory, in bytes from its beginning.
#pragma once
#include <cstdint>

#include "wholestep/backend/cpu/conv_geometry.h"
#include "wholestep/backend/cpu/conv_pixels.h"

namespace wholestep {

struct ForwardScratch {
  int64_t planes, offsets, pixels, last_pixels, lane_weights, total;
};
ForwardScratch forward_scratch(const Conv2d& conv);
int64_t forward_band(
    const Conv2d& conv);  ///< most rows of outputs computed at a time, from planes of their own

struct InputGradientScratch {
  int64_t planes, phases, columns, total;
  int64_t phase_weights, phase_lane_weights, phase_offsets, phase_taps,
      phase_pixels;  ///< one after another, phase by phase
};
InputGradientScratch input_gradient_scratch(const Conv2d& conv);
constexpr int64_t kGradientPhaseBytes = 160;  ///< of an entry of `phases`
OutputRows gradient_outputs(const Conv2d& conv, const GradientPlanes& dy, int64_t phase_y, int64_t phase_x);
int64_t gradient_slot(const Conv2d& conv);  ///< floats of a row of one column phase of dx in `columns`

struct WeightGradientScratch {
  int64_t planes, offsets, vectors, dy, sums, total;
};
WeightGradientScratch weight_gradient_scratch(const Conv2d& conv);
int64_t gradient_run_floats(const Conv2d& conv,
                            int64_t pitch);  ///< of a channel of dy copied to the planes' pitch
int64_t weight_gradient_channels(
    const Conv2d& conv);                   ///< most input channels whose planes are held at a time
bool pixel_lanes_fit(const Conv2d& conv);  ///< whether there is room for a vector of sums for every weight

}  // namespace wholestep
