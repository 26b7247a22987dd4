// Chooses tiles for the direct convolution kernels from the geometry, by counting what a block issues.
#include "wholestep/ops/conv2d_cuda.h"

#include <fmt/format.h>

#include <optional>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/ops/conv2d_cpu.h"
#include "wholestep/ops/conv2d_samples_cuda.h"
#include "wholestep/ops/matmul_cuda.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {

std::string conv2d_geometry(int64_t batch, const Conv2d& c) {
  return device_function("Conv", batch, c.in_channels, c.y.in, c.x.in, c.out_channels, c.y.out, c.x.out,
                         c.y.kernel, c.x.kernel, c.y.stride, c.x.stride, c.y.padding, c.x.padding,
                         c.y.dilation, c.x.dilation);
}

Conv2d conv2d_input_gradient(const Conv2d& c) {
  auto axis = [](const ConvAxis& a) {
    // Pixel cell * stride + r meets output row oh through tap r + padding - stride * (oh - cell).
    int64_t taps = ceil_div(a.kernel, a.stride), padding = (taps - 1) * a.dilation - a.padding / a.stride;
    return ConvAxis{.in = a.out,
                    .out = ceil_div(a.in, a.stride),
                    .kernel = a.stride == 1 ? taps : padding + (a.stride - 1 + a.padding) / a.stride + 1,
                    .stride = 1,
                    .padding = padding,
                    .dilation = a.dilation};
  };
  return {.in_channels = c.out_channels,
          .out_channels = c.in_channels,
          .groups = 1,
          .y = axis(c.y),
          .x = axis(c.x)};
}

std::string refuse_conv2d_cuda(const KernelRequest& request, const Conv2dProblem& p) {
  if (request.op == "conv2d" || request.op == "conv2d_dw")  // others have kernels with programs
    if (std::string refusal = refuse_program(request); !refusal.empty()) return refusal;
  if (request.outputs[0].dtype != DType::f32) return "takes f32 only";
  if (p.conv.groups != 1) return fmt::format("groups is {}", p.conv.groups);
  if (p.batch == 0) return "the batch is empty";
  return "";
}

std::string refuse_conv2d_strips_cuda(const KernelRequest& request, const Conv2dProblem& p, int64_t strips) {
  if (!tf32_allowed()) return "TF32 is switched off";
  if (std::string refusal = refuse_conv2d_cuda(request, p); !refusal.empty()) return refusal;
  if (strips > kCudaRowChunks) return fmt::format("{} strips", strips);
  return conv2d_fits_lane(p.conv) ? "" : "much work for a lane";
}

std::string refuse_conv2d_input_gradient(const Conv2d& c) {
  const bool dilated = c.y.dilation > 1 || c.x.dilation > 1;
  return dilated && (c.y.stride > 1 || c.x.stride > 1) ? "a stride and a dilation" : "";
}

namespace {

/// Channels as a block of them lies in shared memory.
int64_t padded_channels(int64_t channels) { return channels == 1 ? 1 : rounded_up(channels, 4); }

/// Cycles of a multiprocessor for `items` threads' work, each `rows` times so many multiplications and words
/// read from shared memory: four warps multiply and one reads at a time, and a warp alone waits for what it
/// reads.
double cycles_of(int64_t items, double rows, double multiplies, double reads) {
  return std::max(static_cast<double>(ceil_div(items, 32)) * rows * (multiplies / 4 + reads),
                  static_cast<double>(ceil_div(items, kCudaThreads)) * rows * (multiplies + reads + 40));
}
constexpr JoinCycles kJoin{.part = 8, .round = 8, .once = 60};

/// Pixels and channels a thread of the forward kernel has, and parts of its sum; as ConvTile in conv2d.cuh.
struct Tile {
  int64_t pixels, channels, split, shared_bytes;
};

std::optional<Tile> forward_tile(const Conv2d& c) {
  std::optional<Tile> best;
  double least = 0;
  int64_t outputs = c.out_channels * c.y.out * c.x.out;
  for (int64_t pixels : {1, 2, 4})
    for (int64_t channels : {1, 2, 3, 4, 5, 6, 8, 12, 16})
      for (int64_t split : {1, 2, 3, 4, 6, 8}) {
        if ((channels > c.out_channels && channels > 1) || split > c.in_channels) continue;
        int64_t groups = ceil_div(c.x.out, pixels), blocks = ceil_div(c.out_channels, channels),
                segment = (pixels - 1) * c.x.stride + (c.x.kernel - 1) * c.x.dilation + 1,
                vector = largest_power(pixels * c.x.stride), loads = ceil_div(segment, vector);
        int64_t height = conv2d_span(c.y, c.y.out),
                width = rounded_up((groups - 1) * pixels * c.x.stride + loads * vector, 4);
        int64_t shared =
            4 * (rounded_up(c.in_channels * c.y.kernel * c.x.kernel * blocks * padded_channels(channels), 4) +
                 c.in_channels * height * width + (split > 1 ? split * outputs : 0));
        if (shared > cuda_shared_bytes() || segment > 32) continue;
        double cycles = cycles_of(groups * c.y.out * blocks * split,
                                  static_cast<double>(ceil_div(c.in_channels, split) * c.y.kernel),
                                  static_cast<double>(c.x.kernel * pixels * channels),
                                  static_cast<double>(loads * vector + c.x.kernel * ceil_div(channels, 4))) +
                        kJoin(outputs, split);
        if (!best || cycles < least) best = Tile{pixels, channels, split, shared}, least = cycles;
      }
  return best;
}

/// The same for the gradient of the input with a stride.
std::optional<Tile> dx_tile(const Conv2d& c) {
  std::optional<Tile> best;
  double least = 0;
  int64_t outputs = c.in_channels * c.y.in * c.x.in, taps = c.y.kernel * c.x.kernel;
  for (int64_t channels : {1, 2, 3, 4, 6, 8, 12, 16})
    for (int64_t split : {1, 2, 4, 8}) {
      if ((channels > c.in_channels && channels > 1) || split > c.out_channels) continue;
      int64_t blocks = ceil_div(c.in_channels, channels), classes = c.y.stride * c.x.stride,
              cells = rounded_up(ceil_div(c.y.in, c.y.stride) * ceil_div(c.x.in, c.x.stride), 32);
      int64_t shared = 4 * (c.out_channels * taps * blocks * padded_channels(channels) +
                            c.out_channels * c.y.out * c.x.out + (split > 1 ? split * outputs : 0));
      if (shared > cuda_shared_bytes()) continue;
      double met = static_cast<double>(taps) / static_cast<double>(classes);
      double cycles =
          cycles_of(blocks * classes * cells * split, static_cast<double>(ceil_div(c.out_channels, split)),
                    met * static_cast<double>(channels),
                    met * static_cast<double>(1 + ceil_div(channels, 4)) + 9) +
          kJoin(outputs, split);
      if (!best || cycles < least) best = Tile{1, channels, split, shared}, least = cycles;
    }
  return best;
}

/// More work than this a sample is better spread over many blocks.
constexpr double kSampleFlops = 2e6;

std::string refuse_samples(const KernelRequest& request, const Conv2dProblem& p) {
  if (std::string refusal = refuse_conv2d_cuda(request, p); !refusal.empty()) return refusal;
  if (!conv2d_fits_lane(p.conv) && refuse_conv2d_tensor_cuda(request).empty())
    return fmt::format("{:.1f} MFLOP a sample are better spread over many blocks",
                       conv2d_sample_flops(p.conv) / 1e6);
  return "";
}

const char* const kTooLarge = "a sample does not fit shared memory";

/// Channels a thread of the weight gradient has, and into how many parts pixels are split; as in conv2d.cuh.
struct WeightTile {
  int64_t channels, parts, shared_bytes;
};
std::optional<WeightTile> weight_tile(const Conv2d& c) {
  std::optional<WeightTile> best;
  double least = 0;
  int64_t height = conv2d_span(c.y, c.y.out), width = conv2d_span(c.x, c.x.out) | 1;
  int64_t samples = 4 * (c.in_channels * height * width + c.out_channels * c.y.out * c.x.out);
  int64_t outputs = c.out_channels * c.in_channels * c.y.kernel * c.x.kernel;
  for (int64_t channels : {1, 2, 3, 4, 6, 8}) {
    if (channels > c.out_channels) continue;
    int64_t items = ceil_div(c.out_channels, channels) * c.in_channels * c.y.kernel;
    for (int64_t split = 1; split <= c.y.out; ++split) {
      int64_t waves = ceil_div(items * split, kCudaThreads), shared = std::max(samples, 4 * split * outputs);
      if (waves * channels * c.x.kernel > 64 || shared > cuda_shared_bytes()) continue;
      double pixels = static_cast<double>(ceil_div(c.y.out, split) * c.x.out),
             multiplies = static_cast<double>(channels * c.x.kernel),
             reads = static_cast<double>(c.x.kernel + channels);
      double cycles = cycles_of(items * split, pixels / 4, 4 * multiplies, 4 * reads) + kJoin(outputs, split);
      if (!best || cycles < least) best = WeightTile{channels, split, shared}, least = cycles;
    }
  }
  return best;
}

std::optional<SampleTile> sample_tile(std::string_view op, const Conv2d& c, bool bias) {
  return op == "conv2d_dw"   ? weight_sample_tile(c, bias)
         : op == "conv2d_dx" ? gradient_sample_tile(c)
                             : forward_sample_tile(c);
}

}  // namespace

bool conv2d_fits_lane(const Conv2d& c) { return conv2d_sample_flops(c) <= kSampleFlops; }

void add_conv2d_join(CudaCall& call, const KernelRequest& request, int64_t parts) {
  if (!request.attrs.has("bias")) return add_split_join(call, request, parts, 0, false);
  const int64_t weights = request.outputs[0].shape.numel();
  const TensorType part{request.outputs[0].dtype, {weights + request.outputs[1].shape.numel()}};
  add_join(call, part, parts, 0, [&](int64_t ways) {
    return device_function("conv2d_join", weights, part.shape.numel(), parts, ways);
  });
  give_squares(call);
}

std::string refuse_conv2d_tensor_samples_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  if (!tf32_allowed()) return "TF32 is switched off";
  if (std::string refusal = refuse_samples(request, p); !refusal.empty()) return refusal;
  if (request.op == "conv2d_dx")
    if (std::string refusal = refuse_conv2d_input_gradient(p.conv); !refusal.empty()) return refusal;
  return sample_tile(request.op, p.conv, p.bias) ? "" : kTooLarge;
}

std::unique_ptr<PreparedKernel> prepare_conv2d_tensor_samples_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  auto call = cuda_call(request, "conv2d_samples.cuh");
  SampleTile tile = *sample_tile(request.op, p.conv, p.bias);
  std::string shape = conv2d_geometry(p.batch, p.conv);
  auto add = [&](uint64_t row_inputs, uint64_t row_outputs, std::string_view name, const std::string& of,
                 const auto&... more) {
    call->phases.push_back(cuda_row_phase(
        p.batch, row_inputs, row_outputs,
        device_function(name, of, tile.run, tile.row, tile.plane, tile.channel_groups, tile.split, more...),
        tile.shared_bytes));
  };
  if (request.op == "conv2d_dw") {
    add(3, 0, "conv2d_dw_tensor_samples", shape, tile.kernel_rows);
    add_conv2d_join(*call, request, call->phases[0].chunks);
  } else if (request.op == "conv2d_dx") {
    add(p.row_inputs(), 1, "conv2d_dx_tensor_samples",
        conv2d_geometry(p.batch, conv2d_input_gradient(p.conv)), shape);
  } else {
    add(1, 1, "conv2d_forward_tensor_samples", shape, p.third(), p.relu);
  }
  return call;
}

std::string refuse_conv2d_samples_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  if (std::string refusal = refuse_samples(request, p); !refusal.empty()) return refusal;
  return forward_tile(p.conv) ? "" : kTooLarge;
}

std::unique_ptr<PreparedKernel> prepare_conv2d_samples_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  Tile tile = *forward_tile(p.conv);
  auto call = cuda_call(request, "conv2d.cuh");
  call->phases.push_back(
      cuda_row_phase(p.batch, 1, 1,
                     device_function("conv2d_samples", DType::f32, conv2d_geometry(p.batch, p.conv),
                                     tile.pixels, tile.channels, tile.split, false, p.third(), p.relu),
                     tile.shared_bytes));
  return call;
}

std::string refuse_conv2d_dx_samples_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  if (std::string refusal = refuse_samples(request, p); !refusal.empty()) return refusal;
  bool one = p.conv.y.stride == 1 && p.conv.x.stride == 1;
  bool fits = one ? forward_tile(conv2d_input_gradient(p.conv)).has_value() : dx_tile(p.conv).has_value();
  return fits ? "" : kTooLarge;
}

std::unique_ptr<PreparedKernel> prepare_conv2d_dx_samples_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  auto call = cuda_call(request, "conv2d.cuh");
  std::string run;
  int64_t shared = 0;
  if (p.conv.y.stride == 1 && p.conv.x.stride == 1) {
    Conv2d c = conv2d_input_gradient(p.conv);
    Tile tile = *forward_tile(c);
    run = device_function("conv2d_samples", DType::f32, conv2d_geometry(p.batch, c), tile.pixels,
                          tile.channels, tile.split, true, p.third(), false);
    shared = tile.shared_bytes;
  } else {
    Tile tile = *dx_tile(p.conv);
    run = device_function("conv2d_dx_samples", DType::f32, conv2d_geometry(p.batch, p.conv), tile.channels,
                          tile.split, p.third());
    shared = tile.shared_bytes;
  }
  call->phases.push_back(cuda_row_phase(p.batch, p.row_inputs(), 1, run, shared));
  return call;
}

std::string refuse_conv2d_dw_samples_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  if (std::string refusal = refuse_samples(request, p); !refusal.empty()) return refusal;
  return weight_tile(p.conv) ? "" : kTooLarge;
}

std::unique_ptr<PreparedKernel> prepare_conv2d_dw_samples_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  WeightTile tile = *weight_tile(p.conv);
  auto call = cuda_call(request, "conv2d.cuh");
  call->phases.push_back(
      cuda_row_phase(p.batch, 3, 0,
                     device_function("conv2d_dw_samples", DType::f32, conv2d_geometry(p.batch, p.conv),
                                     tile.channels, tile.parts),
                     tile.shared_bytes));
  add_conv2d_join(*call, request, call->phases[0].chunks);
  return call;
}

std::unique_ptr<PreparedKernel> prepare_conv2d_plain_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  auto call = cuda_call(request, "conv2d.cuh");
  std::string shape = conv2d_geometry(p.batch, p.conv);
  DType dtype = request.outputs[0].dtype;
  int64_t elements = request.outputs[0].shape.numel();
  CudaPhase phase = {.chunks = ceil_div(elements, kCudaThreads)};
  if (request.op == "conv2d") {
    phase.run = device_function("conv2d_plain", dtype, shape, p.conv.groups, p.third(), p.relu);
  } else if (request.op.starts_with("conv2d_dx")) {
    phase.run = device_function("conv2d_dx_plain", dtype, shape, p.conv.groups, p.third(), p.strips);
  } else {
    phase.run = device_function("conv2d_dw_plain", dtype, shape, p.conv.groups, p.strips);
    phase.chunks = elements;
    phase.shared_bytes = kCudaThreads * 8;
  }
  call->phases.push_back(std::move(phase));
  if (request.op.starts_with("conv2d_dw") && p.bias)
    call->phases.push_back({.chunks = p.conv.out_channels,
                            .run = device_function("conv2d_db_plain", dtype, shape, p.strips),
                            .shared_bytes = kCudaThreads * 8});
  return call;
}

}  // namespace wholestep
