// What the CPU kernels of the convolution ops share: the request as numbers, and what prepares them.
#pragma once
#include <string>

#include "wholestep/backend/backend.h"
#include "wholestep/backend/cpu/call.h"
#include "wholestep/backend/cpu/conv.h"
#include "wholestep/backend/cpu/kernels.h"
#include "wholestep/ops/epilogue.h"

namespace wholestep {

/// x [batch, Ci, H, W], weight [Co, Ci / groups, Kh, Kw], result or its gradient [batch, Co, Ho, Wo].
struct Conv2dProblem {
  int64_t batch;
  Conv2d conv;
  bool bias;    ///< there is one, or its gradient beside the weight's
  bool masked;  ///< activation "relu_dx" of conv2d_dx
  bool relu;
  int64_t strips = 1;  ///< into so many a sample's rows are cut, of dx, or of g in a weight's gradient
  int64_t third() const { return third_operand(bias, masked); }
  uint64_t row_inputs() const {
    return masked ? 5 : 1;
  }  ///< of conv2d and conv2d_dx: what lies sample by sample
};
/// Multiplications and additions of a sample, the same for a convolution and its gradients.
inline double conv2d_sample_flops(const Conv2d& c) {
  return 2.0 * static_cast<double>(c.out_channels * c.y.out * c.x.out) *
         static_cast<double>(c.in_channels / c.groups * c.y.kernel * c.x.kernel);
}
/// For ops "conv2d", "conv2d_dx" and "conv2d_dw" alike, and for their gradients in strips.
Conv2dProblem conv2d_problem(const KernelRequest& request);
/// Of all samples.
double conv2d_flops(const KernelRequest& request);

/// The sums that conv2d_dw keeps for each chunk of samples, at the start of its workspace: the gradient of
/// the weight and behind it, where it is asked for, the bias's.
struct GradientParts {
  GradientParts(const KernelRequest& request, const CpuKernels& with);
  const CpuKernels* kernels;
  int64_t weights, elements, chunks, floats;  ///< floats of a part
  int64_t bytes() const { return chunks * floats * int64_t{sizeof(float)}; }
  float* part(const CpuArgs& args, int64_t chunk) const;
  CpuPhase sum() const;  ///< adds the parts up, in order
};

// The kernels of backend/cpu/conv.h: f32, samples spread over workers; and those with operands rounded to
// bf16.
std::string refuse_conv2d_direct(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_direct(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dx_direct(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dw_direct(const KernelRequest& request);
std::string refuse_conv2d_bf16(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_bf16(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dx_bf16(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dw_bf16(const KernelRequest& request);

// oneDNN, for many channels.
std::string refuse_conv2d_onednn(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_onednn(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dx_onednn(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dw_onednn(const KernelRequest& request);

// Plain loops.
std::unique_ptr<PreparedKernel> prepare_conv2d_reference(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dx_reference(const KernelRequest& request);
std::unique_ptr<PreparedKernel> prepare_conv2d_dw_reference(const KernelRequest& request);

}  // namespace wholestep
