// The gradient of a convolution's bias, which goes with that of its weights.
#pragma once
#include "wholestep/backend/cpu/conv.h"
#include "wholestep/backend/cpu/gemm_pack.isa.h"

namespace wholestep::WHOLESTEP_ISA {

/// dbias [Co] is, or for samples after the first grows by, the sums of dy [Co, Ho, Wo] of one sample.
inline void add_bias_gradient(const Conv2d& conv, const float* dy, bool first, float* dbias) {
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

}  // namespace wholestep::WHOLESTEP_ISA
