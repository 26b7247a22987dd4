// Concrete tensors as people look at them: printed as NumPy prints arrays, and compared as a whole.
#pragma once
#include <string>

#include "wholestep/graph/tensor.h"

namespace wholestep {

/// As str() of a NumPy array of these elements: at most 8 digits behind the point, as few as tell an element
/// apart; lines of at most 75 characters; "..." for the middle of axes of more than 1,000 elements in all.
std::string to_string(const Tensor& tensor);

/// Whether shapes and all elements are equal; dtypes may differ. NaN equals nothing.
bool array_equal(const Tensor& a, const Tensor& b);

/// Whether |a - b| <= atol + rtol |b| for all elements, infinities being equal to themselves alone (PyTorch's
/// and NumPy's allclose). kUsage where the shapes do not broadcast.
bool allclose(const Tensor& a, const Tensor& b, double rtol = 1e-5, double atol = 1e-8,
              bool equal_nan = false);

}  // namespace wholestep
