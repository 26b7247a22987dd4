// Which convolutions conv2d_shifted.cuh takes, and in what pieces.
#include <algorithm>
#include <optional>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/ops/conv2d_cuda.h"
#include "wholestep/ops/matmul_cuda.h"

namespace wholestep {
namespace {

/// Pieces of a window that a thread has registers for.
constexpr int64_t kPieces = 12;

/// Of 8, 16 and 32 or 16, 32 and 64: the smallest that holds n, or the largest.
int64_t width_of(int64_t n, int64_t smallest) {
  int64_t width = smallest;
  while (width < n && width < 4 * smallest) width *= 2;
  return width;
}

/// The template arguments of conv2d_shifted, as they are named there.
struct Shifted {
  int64_t k, n, rows, tiles, shared_bytes;
};

/// As many rows a warpgroup as its registers hold sums for, while there are tiles for nearly every
/// multiprocessor; none where the weight and two windows do not fit.
std::optional<Shifted> shifted_of(int64_t batch, const Conv2d& c) {
  // As ShiftedOutputs.
  int64_t groups = kCudaThreads / 128, unit = c.x.in % 4 == 0 ? 4 : 1, left = rounded_up(c.x.padding, unit),
          pitch = left + c.x.in, last = (c.y.out - 1) * pitch + c.x.out,
          row_groups = c.x.out % 64 == 0 && groups % (c.x.out / 64) == 0 ? c.x.out / 64 : 0;
  int64_t k = width_of(c.in_channels, 8), n = width_of(c.out_channels, 16),
          rows = row_groups > 0 ? std::min<int64_t>(4, 128 / n) : 1;
  auto step = [&] { return row_groups > 0 ? groups / row_groups * rows * pitch : groups * 64; };
  auto tiles = [&] { return batch * ceil_div(last, step()); };
  while (rows > 1 && (step() / 2 >= c.y.out * pitch || 4 * tiles() < 3 * kCudaBusyBlocks)) rows /= 2;
  int64_t read = (c.y.kernel - 1) * pitch + c.x.kernel - 1 + left - c.x.padding,
          window = rounded_up((row_groups > 0 ? step() - pitch + c.x.out : step()) + read, unit),
          channel = with_rest(window, 8, 32),
          weights = c.y.kernel * c.x.kernel * rounded_up(c.in_channels, k) * n,
          shared_bytes = 1024 + 4 * (weights + 2 * 8 * channel);
  if (shared_bytes > cuda_shared_bytes() || ceil_div(8 * channel / unit, kCudaThreads) > kPieces) return {};
  return Shifted{.k = k, .n = n, .rows = rows, .tiles = tiles(), .shared_bytes = shared_bytes};
}

/// The template arguments of conv2d_dw_shifted.
struct ShiftedWeight {
  int64_t channels, rows, per_block, shared_bytes;
};

ShiftedWeight shifted_weight_of(int64_t batch, const Conv2d& c) {
  // As conv2d_dw_shifted_parts.
  int64_t channels = width_of(c.in_channels, 8), n = c.x.kernel * channels, parts = ceil_div(c.x.out, 32);
  // Sums that a thread holds: with more than 64, its other registers do not suffice.
  auto sums = [&](int64_t rows) {
    int64_t groups = kCudaThreads / 128, x_rows = rows + c.y.kernel - 1,
            at_once = x_rows > groups && x_rows % 2 == 0 && rows % 2 == 0 && n * 2 <= 96 ? 2 : 1;
    return ceil_div(x_rows / at_once, groups) * at_once * n / 2;
  };
  int64_t rows = 4;
  while (rows > 1 && (rows * c.out_channels > 64 || c.y.out % rows != 0 || sums(rows) > 64)) rows /= 2;
  int64_t slots = (ceil_div(c.y.kernel - 1, rows) + 2) * rows;
  int64_t lines = parts * (slots * n + 2 * 64);  // of 128 bytes
  int64_t row = c.in_channels * c.y.kernel * c.x.kernel, pitch = row % 4 == 0 ? with_rest(row, 4, 8) : row;
  return {.channels = channels,
          .rows = rows,
          .per_block = ceil_div(batch * c.y.out / rows, kCudaBusyBlocks),
          .shared_bytes = 1024 + std::max(lines * 128, 4 * rows * c.out_channels * (pitch + parts * 8 + 1))};
}

std::string refuse_weight(int64_t batch, const Conv2d& c) {
  if (c.out_channels > 64 || c.in_channels > 32) return "more than 64 output or 32 input channels";
  if (c.y.kernel > 3 || c.x.kernel > 3) return "more than 3 rows or columns of the kernel";
  ShiftedWeight of = shifted_weight_of(batch, c);
  if (c.x.kernel * of.channels < 16) return "too few channels and columns of the kernel for one product";
  if (c.x.out % 4 != 0) return "rows of the result are not whole vectors";
  return of.shared_bytes <= cuda_shared_bytes() ? "" : "the rows do not fit shared memory";
}

Conv2d forward_of(const KernelRequest& request, const Conv2dProblem& p) {
  return request.op == "conv2d_dx" ? conv2d_input_gradient(p.conv) : p.conv;
}

}  // namespace

std::string refuse_conv2d_shifted_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  if (std::string refusal = refuse_conv2d_cuda(request, p); !refusal.empty()) return refusal;
  if (!tf32_allowed()) return "TF32 is switched off";
  if (cuda_architecture() / 10 != 9) return "only sm_90 multiplies with four warps together";
  const Conv2d& c = p.conv;
  if (c.y.stride != 1 || c.x.stride != 1 || c.y.dilation != 1 || c.x.dilation != 1)
    return "a stride or a dilation";
  if (request.op == "conv2d_dw") return refuse_weight(p.batch, c);
  if (c.y.kernel * c.x.kernel > 31) return "more than 31 taps";
  const Conv2d of = forward_of(request, p);
  if (of.out_channels > 64) return "more than 64 output channels";
  if (std::min(of.y.padding, of.x.padding) < 0) return "a padding wider than the kernel";
  if (std::max(c.in_channels * c.y.in * c.x.in, c.out_channels * c.y.out * c.x.out) * 8 >= int64_t{1} << 31)
    return "offsets in a sample do not fit 32 bits";
  return shifted_of(p.batch, of)
             ? ""
             : "the weight and the windows of a tile do not fit shared memory or registers";
}

std::unique_ptr<PreparedKernel> prepare_conv2d_shifted_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  if (request.op == "conv2d_dw") {
    ShiftedWeight of = shifted_weight_of(p.batch, p.conv);
    int64_t parts = ceil_div(p.batch * p.conv.y.out / of.rows, of.per_block);
    auto call = cuda_call(request, "conv2d_shifted.cuh");
    call->phases.push_back({.chunks = parts,
                            .in_memory = true,
                            .run = device_function("conv2d_dw_shifted", conv2d_geometry(p.batch, p.conv),
                                                   of.channels, of.rows, of.per_block),
                            .shared_bytes = of.shared_bytes});
    if (parts > 1) add_conv2d_join(*call, request, parts);
    return call;
  }
  bool dx = request.op == "conv2d_dx";
  Conv2d c = forward_of(request, p);
  Shifted shifted = *shifted_of(p.batch, c);
  int64_t per_block = ceil_div(shifted.tiles, kCudaBusyBlocks);
  auto call = cuda_call(request, "conv2d_shifted.cuh");
  call->phases.push_back({.chunks = ceil_div(shifted.tiles, per_block),
                          .in_memory = true,
                          .run = device_function("conv2d_shifted", conv2d_geometry(p.batch, c), shifted.k,
                                                 shifted.n, shifted.rows, per_block, dx, p.third(), p.relu),
                          .shared_bytes = shifted.shared_bytes});
  give_squares(*call);
  return call;
}

}  // namespace wholestep
