// The CUDA kernels of sums over convolutions.
#include <fmt/format.h>

#include <bit>

#include "wholestep/backend/cuda/elements.h"
#include "wholestep/ops/conv2d_cuda.h"
#include "wholestep/ops/conv2d_sums.h"
#include "wholestep/ops/elementwise_cuda.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

int64_t taps_of(const Conv2d& c) { return c.in_channels * c.y.kernel * c.x.kernel; }

// As PaddedSample and conv2d_sums_tensor of conv2d_sums.cuh.

/// Columns that two neighbouring pixels see, and tiles of eight taps.
int64_t columns_of(const Conv2d& c) { return cuda_group(c.x.kernel + 1); }
int64_t tiles_of(const Conv2d& c) { return ceil_div(c.in_channels * c.y.kernel * columns_of(c), 8); }

/// What a block has in shared memory.
int64_t sample_bytes(const Conv2d& c) {
  const int64_t row = with_rest(rounded_up(c.x.out, 2) + c.x.kernel - 1, 16, 32),
                words = conv2d_span(c.y, c.y.out) * c.in_channels * row + 8 / columns_of(c) * row + 8;
  return 4 *
         (rounded_up(words, 4) + kCudaThreads / 32 * c.out_channels * with_rest(tiles_of(c) * 8 + 2, 8, 16));
}

/// `run`, a function over the operands of conv2d_sums that ends in the program over x.
std::string define(CudaCall& call, const KernelRequest& request, const Conv2dProblem& p,
                   const std::string& run) {
  const std::string program = cuda_pixel_program(call, request), type(cuda_name(request.inputs[1].dtype));
  return cuda_define(
      call, "conv2d_sums",
      fmt::format("(Lane lane, const {0}* x, const {1}* weight{2}, {1}* sums, {1}* patches, {1}* positive, "
                  "char*) {{\n"
                  "  {3}(lane, x, weight, {4}, sums, patches, positive, {1}({6}), {5});\n}}\n",
                  cuda_name(request.inputs[0].dtype), type,
                  p.bias ? fmt::format(", const {}* bias", type) : "", run,
                  p.bias ? "bias" : fmt::format("static_cast<const {}*>(nullptr)", type), program,
                  cuda_number(scale_of(request.attrs))));
}

}  // namespace

std::string refuse_conv2d_sums_tensor_cuda(const KernelRequest& request) {
  constexpr int64_t kTiles = 8;  // of 8 channels and 8 taps, in registers
  const Conv2dProblem p = conv2d_sums_problem(request);
  const Conv2d& c = p.conv;
  if (!tf32_allowed()) return "TF32 is switched off";
  if (request.inputs[1].dtype != DType::f32) return "takes f32 only";
  if (c.x.stride > 1) return "a horizontal stride";
  if (c.x.kernel > 7 || c.x.dilation > 1 || (c.y.kernel > 1 && c.y.dilation > 1))
    return "a wide kernel, or one with gaps";
  if (ceil_div(c.out_channels, 8) * tiles_of(c) > kTiles)
    return fmt::format("{} channels and {} taps are more than a warp keeps", c.out_channels, taps_of(c));
  if (sample_bytes(c) > cuda_shared_bytes()) return "a sample does not fit shared memory";
  return "";
}

std::unique_ptr<PreparedKernel> prepare_conv2d_sums_tensor_cuda(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_sums_problem(request);
  auto call = cuda_call(request, "conv2d_sums.cuh");
  const std::string run = device_function("conv2d_sums_tensor", request.inputs[0].dtype,
                                          conv2d_geometry(p.batch, p.conv), p.bias);
  call->phases.push_back(
      cuda_row_phase(p.batch, 1, kAllOperands, define(*call, request, p, run), sample_bytes(p.conv)));
  return call;
}

std::unique_ptr<PreparedKernel> prepare_conv2d_sums_plain_cuda(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_sums_problem(request);
  auto call = cuda_call(request, "conv2d_sums.cuh");
  const std::string run = device_function("conv2d_sums_plain", request.inputs[1].dtype,
                                          request.inputs[0].dtype, conv2d_geometry(p.batch, p.conv), p.bias);
  call->phases.push_back({.chunks = p.batch * p.conv.out_channels,
                          .run = define(*call, request, p, run),
                          .shared_bytes = kCudaThreads * 8});
  return call;
}

std::unique_ptr<PreparedKernel> prepare_conv2d_sums_dw_cuda(const KernelRequest& request) {
  const Shape& patches = request.inputs[0].shape;
  const bool bias = request.attrs.has("bias");
  const int64_t taps = patches[2] * patches[3] * patches[4], width = cuda_group(taps + bias);
  auto call = cuda_call(request, "conv2d_sums.cuh");
  call->phases.push_back(
      {.chunks = patches[1] * ceil_div(taps + bias, width),
       .run = device_function("conv2d_sums_dw", request.inputs[0].dtype, patches[0], patches[1], taps, width,
                              bias, std::bit_cast<uint64_t>(scale_of(request.attrs))),
       .shared_bytes = kCudaThreads * 8});
  return call;
}

}  // namespace wholestep
