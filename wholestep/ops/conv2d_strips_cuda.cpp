// The CUDA kernels of convolutions in strips.
#include <fmt/format.h>

#include "wholestep/backend/cuda/elements.h"
#include "wholestep/ops/conv2d_cuda.h"
#include "wholestep/ops/conv2d_samples_cuda.h"
#include "wholestep/ops/conv2d_strips.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

/// A call of one phase that runs name<arguments, Strips<...>, bias, relu>.
template <class... Args>
std::unique_ptr<CudaCall> call_of(const KernelRequest& request, const Conv2dStrips& s, CudaPhase phase,
                                  std::string_view name, const Args&... arguments) {
  auto call = cuda_call(request, "conv2d_strips.cuh");
  const Conv2dProblem& p = s.problem;
  const std::string run = device_function(name, arguments...,
                                          device_function("Strips", s.strips, s.rows, s.first, s.whole,
                                                          s.kept, s.x_step, s.x_first),
                                          p.bias, p.relu),
                    type(cuda_name(request.inputs[1].dtype)),
                    none = fmt::format("static_cast<{}*>(nullptr)", type);
  phase.run =
      cuda_define(*call, "conv2d_strips",
                  fmt::format("(Lane lane, const {6}* x, const {0}* weight{1}, {0}* y{2}, char*) {{\n"
                              "  {3}(lane, x, weight, {4}, y, {5}, {7});\n}}\n",
                              type, p.bias ? fmt::format(", const {}* bias", type) : "",
                              s.kept ? fmt::format(", {}* strips", type) : "", run, p.bias ? "bias" : none,
                              s.kept ? "strips" : none, cuda_name(request.inputs[0].dtype),
                              cuda_pixel_program(*call, request)));
  call->phases.push_back(std::move(phase));
  return call;
}

}  // namespace

std::string refuse_conv2d_strips_tensor_cuda(const KernelRequest& request) {
  const Conv2dStrips s = conv2d_strips(request);
  if (!tf32_allowed()) return "TF32 is switched off";
  if (std::string refusal = refuse_conv2d_cuda(request, s.problem); !refusal.empty()) return refusal;
  if (s.problem.batch > kCudaRowChunks) return fmt::format("{} strips", s.problem.batch);
  if (!conv2d_fits_lane(s.problem.conv)) return "much work for a lane";
  return forward_sample_tile(s.problem.conv) ? "" : "a strip does not fit shared memory";
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
                  .shared_bytes = tile.shared_bytes},
                 "conv2d_strips_tensor", conv2d_geometry(s.problem.batch, s.problem.conv), tile.run, tile.row,
                 tile.plane, tile.channel_groups, tile.split);
}

std::unique_ptr<PreparedKernel> prepare_conv2d_strips_plain_cuda(const KernelRequest& request) {
  const Conv2dStrips s = conv2d_strips(request);
  const Conv2d& c = s.problem.conv;
  const int64_t pixels = s.problem.batch * c.out_channels * c.y.out * c.x.out;
  return call_of(request, s, {.chunks = ceil_div(pixels, kCudaThreads)}, "conv2d_strips_plain",
                 request.outputs[0].dtype, conv2d_geometry(s.problem.batch, c));
}

}  // namespace wholestep
