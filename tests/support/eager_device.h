// Eager execution on a device beside the same on the host.
#pragma once
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep::test {

/// Runs up to `most` cases of an op eagerly, spread over its list, and the gradient of a weighted sum of its
/// results where it has one. Everything that comes out lies on the device, and is within `relative` of the
/// largest element of what the host computes; with 0 it is the same bit for bit.
void expect_eager_agrees(const OpDef& op, Backend& device, double relative, size_t most);

/// Losses of so many eager steps of a small network with convolution, batch norm, dropout and Adam on a
/// device, and last of all the sum of squares of its parameters. (None has a gradient of nothing but
/// rounding, which Adam would make steps of.)
std::vector<double> train_eagerly_on(Backend& device, int steps);

}  // namespace wholestep::test
