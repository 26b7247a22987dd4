// Pooling with windows that the ops do not have: those that end behind the input, and means that leave
// padding out. Compositions around the pooling ops.
#pragma once
#include "wholestep/ops/pool2d.h"

namespace wholestep::nn {

/// With ceil_mode the last window of an axis may end behind x and its padding, if it begins before that:
/// sizes are rounded up.
Tensor max_pool(const Tensor& x, const Pool2dOptions& options, bool ceil_mode);
/// Means over the elements of a window that are x or padding, or without count_include_pad over those of x.
Tensor avg_pool(const Tensor& x, const Pool2dOptions& options, bool ceil_mode, bool count_include_pad);

}  // namespace wholestep::nn
