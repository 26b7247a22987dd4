// Convolutions by cuDNN, where it is ahead of tiles and of products: kernels larger than one pixel over 128
// to 511 channels.
#include <fmt/format.h>

#include <algorithm>

#include "wholestep/ops/conv2d_cuda.h"
#include "wholestep/ops/matmul_cuda.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

/// More than this is not given to one convolution.
constexpr int64_t kMostScratchBytes = int64_t{512} << 20;
/// It is to take so much less time than what plans have without it: figures differ by that much from run to
/// run and from size to size.
constexpr double kAhead = 0.94;

/// TFLOP/s of TF32 on one H200, docs/performance.md: of y, dx and dw from so many channels on.
struct Rates {
  int64_t channels;
  double of[3];
};
constexpr Rates kRates[] = {{512, {136, 127, 103}},
                            {256, {185, 164, 102}},
                            {128, {155, 139, 92}},
                            {64, {93, 93, 63}},
                            {0, {24, 24, 28}}};
/// What a stride leaves of them, by the one that is measured, of 128 channels; and kernels of one pixel.
constexpr double kStrided[3] = {104.0 / 155, 87.0 / 139, 74.0 / 92}, kOnePixelRate = 75;

using Of = CudaConvolution::Of;

CudaConvolution convolution_of(const KernelRequest& request, const Conv2dProblem& p) {
  using In = LibraryPlace::In;
  return {
      .of = request.op == "conv2d"      ? Of::kResult
            : request.op == "conv2d_dx" ? Of::kInput
                                        : Of::kWeight,
      .tf32 = tf32_allowed(),
      .batch = p.batch,
      .conv = p.conv,
      .at = {
          .a = {In::kInput, 0}, .b = {In::kInput, 1}, .d = {In::kOutput, 0}, .scratch = {In::kWorkspace, 0}}};
}

/// Microseconds: what is measured, and for less work than that launches and the ways between layouts.
double cudnn_time(double flops, const CudaConvolution& c) {
  const Conv2d& conv = c.conv;
  const int64_t channels = std::min(conv.in_channels, conv.out_channels);
  const size_t of = static_cast<size_t>(c.of);
  double rate = std::ranges::find_if(kRates, [&](const Rates& r) { return channels >= r.channels; })->of[of];
  if (conv.y.stride > 1 || conv.x.stride > 1) rate *= kStrided[of];
  if (conv.y.kernel == 1 && conv.x.kernel == 1) rate = kOnePixelRate;
  return flops / (rate * 1e6) + 4;
}

/// Padding that whole kernels lie in, which some of its algorithms do not take.
bool reaches_beyond(const ConvAxis& a) { return a.padding > (a.kernel - 1) * a.dilation; }

}  // namespace

std::string refuse_conv2d_cudnn_cuda(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_problem(request);
  const CudaConvolution c = convolution_of(request, p);
  if (std::string refusal = refuse_program(request); !refusal.empty()) return refusal;
  if (request.outputs[0].dtype != DType::f32) return "takes f32 only";
  if (p.batch == 0) return "there is nothing to do";
  if (!cudnn_available()) return "cuDNN is not there";
  if (reaches_beyond(p.conv.y) || reaches_beyond(p.conv.x)) return "the padding is as large as the kernel";
  if (std::max({c.x_bytes(), c.weight_bytes(), c.y_bytes()}) >= int64_t{1} << 33)
    return "offsets in an operand do not fit 32 bits";
  if (auto decided = refused_by_library_use()) return *decided;
  const double flops = static_cast<double>(p.batch) * conv2d_sample_flops(p.conv);
  if (p.conv.groups != 1) return fmt::format("not measured with groups, which are {}", p.conv.groups);
  if (!c.tf32) return "not measured without TF32";
  if (flops < static_cast<double>(kCudaProductFlops)) return "little work";
  if (conv2d_fits_lane(p.conv)) return "a lane has room for a sample";
  if (c.scratch_bytes() > kMostScratchBytes) return fmt::format("scratch of {} bytes", c.scratch_bytes());
  const double cudnn = cudnn_time(flops, c), other = conv2d_time_without_cudnn(request);
  return cudnn < kAhead * other ? "" : fmt::format("about {:.0f} us, else {:.0f}", cudnn, other);
}

/// A bias, ReLU and mask, and the bias's gradient, are phases behind it.
std::unique_ptr<PreparedKernel> prepare_conv2d_cudnn_cuda(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_problem(request);
  const CudaConvolution c = convolution_of(request, p);
  auto call = cuda_call(request, "conv2d.cuh");
  call->phases.push_back(cuda_library_phase(c));
  call->workspace_bytes = aligned(c.scratch_bytes());
  const TensorType& result = request.outputs[0];
  if (c.of == Of::kWeight && p.bias)
    call->phases.push_back(
        {.chunks = p.conv.out_channels,
         .run = device_function("conv2d_db_plain", result.dtype, conv2d_geometry(p.batch, p.conv), 1),
         .shared_bytes = kCudaThreads * 8});
  else if (c.of != Of::kWeight && (p.third() != 0 || p.relu))
    add_finish(*call, result, result.shape[1], result.shape[2] * result.shape[3], p.third(), p.relu);
  return call;
}

}  // namespace wholestep
