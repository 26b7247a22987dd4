// The CUDA kernels of the convolution ops.
#pragma once
#include <string>

#include "wholestep/backend/backend.h"

namespace wholestep {

/// For ops "conv2d", "conv2d_dx" and "conv2d_dw" alike: a block whole samples on tensor cores, in TF32.
std::string refuse_conv2d_tensor_samples_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_tensor_samples_cuda(const KernelRequest& request);

/// A block whole samples, which must fit its shared memory beside the weight.
std::string refuse_conv2d_samples_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_samples_cuda(const KernelRequest& request);
std::string refuse_conv2d_dx_samples_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dx_samples_cuda(const KernelRequest& request);
std::string refuse_conv2d_dw_samples_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dw_samples_cuda(const KernelRequest& request);

/// For ops "conv2d", "conv2d_dx" (of stride 1) and "conv2d_dw" alike: products on tensor cores, in TF32.
std::string refuse_conv2d_tensor_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_tensor_cuda(const KernelRequest& request);

/// For ops "conv2d", "conv2d_dx" and "conv2d_dw" alike: plain loops.
std::unique_ptr<PreparedKernel> prepare_conv2d_plain_cuda(const KernelRequest& request);

}  // namespace wholestep
