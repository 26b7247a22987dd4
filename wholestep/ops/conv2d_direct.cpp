// Convolutions by the direct kernels of the CPU backend. Samples are rows, so a worker carries its samples
// through neighbouring layers; the weight gradient collects one partial sum a chunk of samples and adds those
// up in order.
#include <fmt/format.h>

#include <limits>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/backend/cpu/kernels.h"
#include "wholestep/ops/conv2d_cpu.h"
#include "wholestep/ops/matmul_cpu.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

/// In bf16 a tile of sums has so many rows, and what it rounds has to be worth it: bench/conv_bench.cpp.
constexpr int64_t kFewestRows = 16, kFewestTerms = 64;

SampleRange range_of(Range samples) { return {samples.begin, samples.end}; }

/// A call over the batch's samples in which chunk c has scratch of its own.
std::unique_ptr<CpuCall> sample_call(const Conv2dProblem& problem, int64_t scratch_bytes,
                                     std::function<void(const CpuArgs&, SampleRange, void* scratch)> run) {
  auto call = std::make_unique<CpuCall>();
  Split split(problem.batch);
  int64_t stride = aligned(scratch_bytes);
  call->workspace_bytes = split.chunks() * stride;
  call->phases.push_back({.chunks = split.chunks(),
                          .rows = problem.batch,
                          .row_inputs = problem.row_inputs(),
                          .row_outputs = 1,
                          .run = [=, run = std::move(run)](const CpuArgs& args, int64_t chunk) {
                            run(args, range_of(split[chunk]), args.workspace + chunk * stride);
                          }});
  return call;
}

/// x as pixels, where there is a program; their place comes with the arguments.
struct PixelsOf {
  explicit PixelsOf(const KernelRequest& request) : scale(pixel_scale(request)) {}
  ConvPixels operator()(const CpuArgs& args) const {
    if (!scale) return {};
    return {.pixels = args.in<uint8_t>(0), .scale = scale->factor, .shift = scale->shift};
  }
  std::optional<PixelScale> scale;
};

std::unique_ptr<PreparedKernel> forward_call(const KernelRequest& request, const CpuKernels& kernels) {
  Conv2dProblem p = conv2d_problem(request);
  const PixelsOf pixels(request);
  return sample_call(
      p, kernels.conv_forward_workspace_bytes(p.conv),
      [p, pixels, &kernels](const CpuArgs& args, SampleRange samples, void* scratch) {
        const float* bias = p.bias ? args.in<float>(2) : nullptr;
        kernels.conv_forward(
            p.conv, {args.in<float>(0), args.in<float>(1), bias, args.out<float>(0), p.relu, pixels(args)},
            samples, scratch);
      });
}

std::unique_ptr<PreparedKernel> input_gradient_call(const KernelRequest& request, const CpuKernels& kernels) {
  Conv2dProblem p = conv2d_problem(request);
  return sample_call(p, kernels.conv_input_gradient_workspace_bytes(p.conv),
                     [p, &kernels](const CpuArgs& args, SampleRange samples, void* scratch) {
                       const float* mask = p.masked ? args.in<float>(2) : nullptr;
                       kernels.conv_input_gradient(
                           p.conv, {args.in<float>(0), args.in<float>(1), args.out<float>(0), mask}, samples,
                           scratch);
                     });
}

std::unique_ptr<PreparedKernel> weight_gradient_call(const KernelRequest& request,
                                                     const CpuKernels& kernels) {
  Conv2dProblem p = conv2d_problem(request);
  Split samples(p.batch);
  const GradientParts parts(request, kernels);
  const PixelsOf pixels(request);
  int64_t scratch_bytes = aligned(kernels.conv_weight_gradient_workspace_bytes(p.conv));
  auto call = std::make_unique<CpuCall>();
  call->workspace_bytes = parts.bytes() + samples.chunks() * scratch_bytes;
  call->phases.push_back({.chunks = samples.chunks(),
                          .rows = p.batch,
                          .row_inputs = 3,
                          .run = [=, &kernels](const CpuArgs& args, int64_t chunk) {
                            float* part = parts.part(args, chunk);
                            kernels.conv_weight_gradient(
                                p.conv,
                                {args.in<float>(0), args.in<float>(1), part,
                                 p.bias ? part + parts.weights : nullptr, pixels(args)},
                                range_of(samples[chunk]),
                                args.workspace + parts.bytes() + chunk * scratch_bytes);
                          }});
  call->phases.push_back(parts.sum());
  return call;
}

}  // namespace

GradientParts::GradientParts(const KernelRequest& request, const CpuKernels& with)
    : kernels(&with), weights(request.outputs[0].shape.numel()), elements(weights) {
  const Conv2dProblem p = conv2d_problem(request);
  if (p.bias) elements += p.conv.out_channels;
  chunks = Split(p.batch).chunks();
  floats = aligned(elements * int64_t{sizeof(float)}) / int64_t{sizeof(float)};
}
float* GradientParts::part(const CpuArgs& args, int64_t chunk) const {
  return reinterpret_cast<float*>(args.workspace) + chunk * floats;
}
CpuPhase GradientParts::sum() const {
  Split split(elements);
  return {.chunks = split.chunks(), .run = [*this, split](const CpuArgs& args, int64_t chunk) {
            const Range range = split[chunk];
            auto sum = [&](int64_t first, int64_t begin, int64_t end, int output) {
              if (begin < end)
                kernels->sum_chunks(part(args, 0) + first, chunks, floats, begin - first, end - first,
                                    args.out<float>(output));
            };
            sum(0, range.begin, std::min(range.end, weights), 0);
            sum(weights, std::max(range.begin, weights), range.end, 1);
          }};
}

std::string refuse_conv2d_direct(const KernelRequest& request) {
  if (request.inputs[1].dtype != DType::f32) return "takes f32 only";
  if (request.attrs.has("program") ? !pixel_scale(request) : request.inputs[0].dtype != DType::f32)
    return "takes x in f32, or in u8 with a program that multiplies and adds";
  const Conv2d conv = conv2d_problem(request).conv;
  int64_t most = std::max({conv_forward_workspace_bytes(conv), conv_input_gradient_workspace_bytes(conv),
                           conv_weight_gradient_workspace_bytes(conv)});
  return most > std::numeric_limits<int32_t>::max() ? "a sample is too large for 32-bit offsets" : "";
}
std::string refuse_conv2d_bf16(const KernelRequest& request) {
  if (std::string refusal = refuse_bf16(request); !refusal.empty()) return refusal;
  const Conv2d c = conv2d_problem(request).conv;
  const bool dx = request.op == "conv2d_dx", dw = request.op == "conv2d_dw";
  const int64_t in = c.in_channels / c.groups, out = c.out_channels / c.groups;
  if ((dx ? in : out) < kFewestRows || (!dw && (dx ? out : in) * c.y.kernel * c.x.kernel < kFewestTerms))
    return fmt::format("f32 is faster below {} channels of results in a group, or {} terms a result",
                       kFewestRows, kFewestTerms);
  return refuse_conv2d_direct(request);
}

std::unique_ptr<PreparedKernel> prepare_conv2d_direct(const KernelRequest& request) {
  return forward_call(request, cpu_kernels());
}
std::unique_ptr<PreparedKernel> prepare_conv2d_dx_direct(const KernelRequest& request) {
  return input_gradient_call(request, cpu_kernels());
}
std::unique_ptr<PreparedKernel> prepare_conv2d_dw_direct(const KernelRequest& request) {
  return weight_gradient_call(request, cpu_kernels());
}
std::unique_ptr<PreparedKernel> prepare_conv2d_bf16(const KernelRequest& request) {
  return forward_call(request, bf16_kernels());
}
std::unique_ptr<PreparedKernel> prepare_conv2d_dx_bf16(const KernelRequest& request) {
  return input_gradient_call(request, bf16_kernels());
}
std::unique_ptr<PreparedKernel> prepare_conv2d_dw_bf16(const KernelRequest& request) {
  return weight_gradient_call(request, bf16_kernels());
}

}  // namespace wholestep
