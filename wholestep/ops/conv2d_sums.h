// A convolution of whose ReLU nothing is used but the sums over all pixels, as by a global mean, and its
// gradient without the activation: what compile/pixel_sums.cpp puts in the place of both.
#pragma once
#include "wholestep/ops/conv2d_cpu.h"

namespace wholestep {

/// The convolution behind a request for op "conv2d_sums", whose x may have another dtype than the weight.
Conv2dProblem conv2d_sums_problem(const KernelRequest& request);

/// Attribute scale of conv2d_sums, by which totals are multiplied, and of conv2d_sums_dw, by which their
/// gradient is.
inline double scale_of(const Attrs& attrs) { return attrs.has("scale") ? attrs.number("scale") : 1; }

/// Plain loops, sums in f64.
std::unique_ptr<PreparedKernel> prepare_conv2d_sums_reference(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_sums_dw_reference(const KernelRequest& request);

/// On tensor cores, in TF32: a block a sample.
std::string refuse_conv2d_sums_tensor_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_sums_tensor_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_sums_plain_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_sums_dw_cuda(const KernelRequest& request);

}  // namespace wholestep
