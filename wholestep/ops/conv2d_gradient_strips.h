// Gradients of convolutions whose samples are shared out by rows: what compile/strips.cpp puts in the place
// of a conv2d_dx that a conv2d_dw alone reads. The rows between them lie strip by strip, [N strips, C, rows,
// W].
#pragma once
#include "wholestep/ops/conv2d_cpu.h"

namespace wholestep {

/// [N, C, H, W] of [N strips, C, H / strips, W].
inline Shape joined_strips(const Shape& strips_of, int64_t strips) {
  return {strips_of[0] / strips, strips_of[1], strips_of[2] * strips, strips_of[3]};
}

// For ops "conv2d_dx_strips" and "conv2d_dw_strips", on tensor cores, in TF32: a block a strip.
std::string refuse_conv2d_dx_strips_tensor_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dx_strips_tensor_cuda(const KernelRequest& request);
std::string refuse_conv2d_dw_strips_tensor_cuda(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dw_strips_tensor_cuda(const KernelRequest& request);

}  // namespace wholestep
