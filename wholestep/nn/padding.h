// What lies around the input of a convolution: zeros, or elements of the input itself.
#pragma once
#include <span>

#include "wholestep/base/size2d.h"
#include "wholestep/io/config_fields.h"
#include "wholestep/ops/conv2d.h"

namespace wholestep::nn {

/// The fields `padding` and `padding_mode` of a convolution.
ConfigField padding_field(Padding& padding);
ConfigField padding_mode_field(std::string& mode);
/// What is wrong with "same" beside these strides.
std::vector<std::string> padding_problems(const Padding& padding, const Size2d& stride);

/// x with so many elements more before and after an axis: "reflect" mirrors it without repeating the edge,
/// "replicate" repeats the edge, "circular" goes on at the other end, "zeros" adds zeros. kUsage where the
/// axis is too short for that (reflect: as long as the padding, circular: shorter).
Tensor pad_with(const Tensor& x, int64_t axis, int64_t before, int64_t after, const std::string& mode);

/// conv2d() of x padded as PyTorch's layers do: "same" adds dilation (kernel - 1) along an axis, the odd one
/// behind. `options.padding` is what is added.
Tensor padded_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, Conv2dOptions options,
                     const Padding& padding, const std::string& mode);

}  // namespace wholestep::nn
