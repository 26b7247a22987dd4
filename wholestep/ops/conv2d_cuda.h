// The CUDA kernels of the convolution ops.
#pragma once
#include <string>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/ops/conv2d_cpu.h"

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

/// For ops "conv2d", "conv2d_dx" (of stride 1) and "conv2d_dw" alike: a block tiles of pixels, on tensor
/// cores, in TF32.
std::string refuse_conv2d_tensor_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_tensor_cuda(const KernelRequest& request);

/// For ops "conv2d", "conv2d_dx" and "conv2d_dw" alike: cuDNN.
std::string refuse_conv2d_cudnn_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_cudnn_cuda(const KernelRequest& request);

/// For ops "conv2d", "conv2d_dx" and "conv2d_dw" alike: products of matrices by cuBLASLt.
std::string refuse_conv2d_products_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_products_cuda(const KernelRequest& request);

/// For ops "conv2d", "conv2d_dx" and "conv2d_dw" alike: of stride 1 and few channels, on tensor cores, in
/// TF32.
std::string refuse_conv2d_shifted_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_shifted_cuda(const KernelRequest& request);

/// For ops "conv2d", "conv2d_dx" and "conv2d_dw" alike, and their gradients in strips: plain loops.
std::unique_ptr<PreparedKernel> prepare_conv2d_plain_cuda(const KernelRequest& request);

// What their sources share.

/// Whether a sample is too little work to be spread over blocks.
bool conv2d_fits_lane(const Conv2d& c);
/// Conv<...> of conv2d.cuh.
std::string conv2d_geometry(int64_t batch, const Conv2d& c);
/// Inputs along an axis that so many outputs read, padding included.
constexpr int64_t conv2d_span(const ConvAxis& a, int64_t outputs) {
  return (outputs - 1) * a.stride + (a.kernel - 1) * a.dilation + 1;
}
/// Microseconds, about, of tiles or of products, whichever take less, for many channels and no groups.
double conv2d_time_without_cudnn(const KernelRequest& request);
/// The smallest number from `words` on that leaves `rest` when divided by `of`; as in tensor_core.cuh.
constexpr int64_t with_rest(int64_t words, int64_t rest, int64_t of) {
  return rounded_up(words - rest, of) + rest;
}
/// Cycles of a multiprocessor for adding up `split` parts of sums that lie in shared memory: so many for each
/// part and each round of a block's threads over the outputs, and for all of it.
struct JoinCycles {
  int64_t part, round, once;
  double operator()(int64_t outputs, int64_t split) const {
    return split == 1 ? 0
                      : static_cast<double>(ceil_div(outputs, kCudaThreads) * (split * part + round) + once);
  }
};
/// The gradient of c's input as a convolution of stride 1 over that of its result, for cells of stride x
/// stride pixels; with a stride, no dilation. A class of pixels, those at one place of their cells, meets
/// ceil(kernel / stride) taps at most.
Conv2d conv2d_input_gradient(const Conv2d& c);
/// The phase of conv2d_dw that adds up, in order, `parts` parts of the gradients in the workspace.
void add_conv2d_join(CudaCall& call, const KernelRequest& request, int64_t parts);
/// What none of them but the plain loops takes.
std::string refuse_conv2d_cuda(const KernelRequest& request, const Conv2dProblem& p);
/// What so many strips do not take on tensor cores.
std::string refuse_conv2d_strips_cuda(const KernelRequest& request, const Conv2dProblem& p, int64_t strips);
/// Why the gradient of c's input is no convolution of stride 1, or "".
std::string refuse_conv2d_input_gradient(const Conv2d& c);

}  // namespace wholestep
