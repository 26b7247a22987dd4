// The CUDA kernels of convolutions' gradients in strips.
#include "wholestep/ops/conv2d_cuda.h"
#include "wholestep/ops/conv2d_gradient_strips.h"
#include "wholestep/ops/conv2d_samples_cuda.h"

namespace wholestep {
namespace {

/// A strip of x, from as many rows of g as the whole has.
Conv2d input_strip(const Conv2dProblem& p) {
  Conv2d c = p.conv;
  c.y.in /= p.strips;
  return c;
}
/// A strip of g, with as many rows of x as the whole has.
Conv2d output_strip(const Conv2dProblem& p) {
  Conv2d c = p.conv;
  c.y.out /= p.strips;
  return c;
}

const char* const kTooLarge = "a strip does not fit shared memory";

CudaPhase strip_phase(const Conv2dProblem& p, uint64_t row_inputs, uint64_t row_outputs, std::string run,
                      int64_t shared_bytes) {
  return {.chunks = p.batch * p.strips,
          .rows = p.batch,
          .row_inputs = row_inputs,
          .row_outputs = row_outputs,
          .strips = p.strips,
          .run = std::move(run),
          .shared_bytes = shared_bytes};
}

}  // namespace

std::string refuse_conv2d_dx_strips_tensor_cuda(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_problem(request);
  if (std::string refusal = refuse_conv2d_strips_cuda(request, p, p.batch * p.strips); !refusal.empty())
    return refusal;
  if (std::string refusal = refuse_conv2d_input_gradient(p.conv); !refusal.empty()) return refusal;
  const Conv2d c = input_strip(p);
  if (conv2d_input_gradient(c).x.padding < 0) return "padding beyond the kernel's reach";
  return gradient_sample_tile(c) ? "" : kTooLarge;
}

std::unique_ptr<PreparedKernel> prepare_conv2d_dx_strips_tensor_cuda(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_problem(request);
  const Conv2d c = input_strip(p);
  const SampleTile tile = *gradient_sample_tile(c);
  const int64_t strips = p.batch * p.strips;
  auto call = cuda_call(request, "conv2d_gradient_strips.cuh");
  call->phases.push_back(strip_phase(
      p, p.row_inputs(), 1,
      device_function("conv2d_dx_strips_tensor", conv2d_geometry(strips, conv2d_input_gradient(c)), tile.run,
                      tile.row, tile.plane, tile.channel_groups, tile.split, conv2d_geometry(strips, c),
                      p.third(), p.strips),
      tile.shared_bytes));
  return call;
}

std::string refuse_conv2d_dw_strips_tensor_cuda(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_problem(request);
  if (std::string refusal = refuse_conv2d_strips_cuda(request, p, p.batch * p.strips); !refusal.empty())
    return refusal;
  return weight_sample_tile(output_strip(p), p.bias) ? "" : kTooLarge;
}

std::unique_ptr<PreparedKernel> prepare_conv2d_dw_strips_tensor_cuda(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_problem(request);
  const Conv2d c = output_strip(p);
  const SampleTile tile = *weight_sample_tile(c, p.bias);
  auto call = cuda_call(request, "conv2d_gradient_strips.cuh");
  call->phases.push_back(strip_phase(
      p, 3, 0,
      device_function("conv2d_dw_strips_tensor", conv2d_geometry(p.batch * p.strips, c), tile.run, tile.row,
                      tile.plane, tile.channel_groups, tile.split, tile.kernel_rows, p.strips),
      tile.shared_bytes));
  add_conv2d_join(*call, request, call->phases[0].chunks);
  return call;
}

}  // namespace wholestep
