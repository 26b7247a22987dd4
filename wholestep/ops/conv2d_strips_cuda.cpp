// The CUDA kernels of convolutions in strips.
#include <fmt/format.h>

#include "wholestep/backend/cuda/elements.h"
#include "wholestep/ops/conv2d_cuda.h"
#include "wholestep/ops/conv2d_samples_cuda.h"
#include "wholestep/ops/conv2d_strips.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

/// A call of one phase that runs name<arguments, Strips<...>, whether there are bias, ReLU and kept strips>.
template <class... Args>
std::unique_ptr<CudaCall> call_of(const KernelRequest& request, const Conv2dStrips& s, CudaPhase phase,
                                  std::string_view name, const Args&... arguments) {
  auto call = cuda_call(request, "conv2d_strips.cuh");
  const Conv2dProblem& p = s.problem;
  const std::string strips =
      device_function("Strips", s.strips, s.rows, s.first, s.whole, s.x_step, s.x_first);
  const std::string type(cuda_name(request.inputs[1].dtype));
  std::string parameters, operands;
  auto add = [&](bool there, const char* qualifier, const char* operand) {
    if (there) parameters += fmt::format(", {}{}* {}", qualifier, type, operand);
    operands += there ? fmt::format(", {}", operand) : fmt::format(", static_cast<{}*>(nullptr)", type);
  };
  add(p.bias, "const ", "bias");
  add(true, "", "y");
  add(s.kept, "", "strips");
  phase.run = cuda_define(
      *call, "conv2d_strips",
      fmt::format(
          "(Lane lane, const {}* x, const {}* weight{}, char*) {{\n  {}(lane, x, weight{}, {});\n}}\n",
          cuda_name(request.inputs[0].dtype), type, parameters,
          device_function(name, arguments..., strips, p.bias, p.relu, s.kept), operands,
          cuda_pixel_program(*call, request)));
  call->phases.push_back(std::move(phase));
  return call;
}

/// Of the strip, which is made in shared memory where it is no result.
int64_t strip_bytes(const Conv2dStrips& s) {
  const Conv2d& c = s.problem.conv;
  return s.kept ? 0 : 4 * c.out_channels * c.y.out * c.x.out;
}
int64_t scratch_bytes(const SampleTile& tile) { return rounded_up(tile.shared_bytes, 16); }

}  // namespace

std::string refuse_conv2d_strips_tensor_cuda(const KernelRequest& request) {
  const Conv2dStrips s = conv2d_strips(request);
  if (std::string refusal = refuse_conv2d_strips_cuda(request, s.problem, s.problem.batch); !refusal.empty())
    return refusal;
  const auto tile = forward_sample_tile(s.problem.conv);
  return tile && scratch_bytes(*tile) + strip_bytes(s) <= cuda_shared_bytes()
             ? ""
             : "a strip does not fit shared memory";
}

std::unique_ptr<PreparedKernel> prepare_conv2d_strips_tensor_cuda(const KernelRequest& request) {
  const Conv2dStrips s = conv2d_strips(request);
  const SampleTile tile = *forward_sample_tile(s.problem.conv);
  return call_of(request, s,
                 {.chunks = s.problem.batch,
                  .rows = s.samples,
                  .row_inputs = 1,
                  .row_outputs = 2,
                  .strips = s.strips,
                  .shared_bytes = scratch_bytes(tile) + strip_bytes(s)},
                 "conv2d_strips_tensor", conv2d_geometry(s.problem.batch, s.problem.conv), tile.run, tile.row,
                 tile.plane, tile.channel_groups, tile.split, scratch_bytes(tile));
}

std::unique_ptr<PreparedKernel> prepare_conv2d_strips_plain_cuda(const KernelRequest& request) {
  const Conv2dStrips s = conv2d_strips(request);
  const Conv2d& c = s.problem.conv;
  const int64_t pixels = s.problem.batch * c.out_channels * c.y.out * c.x.out;
  return call_of(request, s, {.chunks = ceil_div(pixels, kCudaThreads)}, "conv2d_strips_plain",
                 request.outputs[0].dtype, conv2d_geometry(s.problem.batch, c));
}

}  // namespace wholestep
