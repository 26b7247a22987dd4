// Pooling with windows that the ops do not have: those that end behind the input, and means that leave
// padding out. What goes around the pooling ops.
#pragma once
#include "wholestep/ops/pool2d.h"

namespace wholestep {

/// x with `value` behind its rows and columns as far as the windows of ceil_mode reach. What does not fit is
/// left to the op to refuse.
Tensor with_ceil_border(const Tensor& x, const Pool2dOptions& options, double value);
/// [Ho, Wo] of x's dtype: what makes means over all of a window those over the elements that count.
Tensor mean_scales(const Tensor& x, const Pool2dOptions& options, bool ceil_mode, bool count_include_pad);

}  // namespace wholestep
