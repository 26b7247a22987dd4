// Chooses the tiles of conv2d_tiles.cuh: what fits shared memory, and of that what issues the least.
#include <fmt/format.h>

#include <numeric>
#include <optional>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/ops/conv2d_cuda.h"
#include "wholestep/ops/matmul_cuda.h"

namespace wholestep {
namespace {

constexpr int64_t kWarps = kCudaThreads / 32;

/// As ConvPixels: columns of rows of samples of the output, and the words of a channel of the input they
/// reach.
struct Pixels {
  int64_t samples, rows, columns, tiles, patch_words;
  int64_t count() const { return samples * rows * columns; }
  std::string text(const std::string& geometry) const {
    return device_function("ConvPixels", geometry, samples, rows, columns);
  }
};

/// About `most` pixels: whole rows where one fits, whole samples where several fit, all tiles alike.
Pixels pixels_of(int64_t batch, const Conv2d& c, int64_t most) {
  int64_t columns = c.x.out <= most ? c.x.out : most / 8 * 8, fitting = std::min(c.y.out, most / columns);
  int64_t tiles_h = ceil_div(c.y.out, fitting), rows = ceil_div(c.y.out, tiles_h),
          samples = tiles_h > 1 || columns < c.x.out ? 1 : std::min(batch, most / (rows * columns));
  int64_t vector = std::gcd(c.x.in, 4);
  if (columns < c.x.out) vector = std::gcd(vector, columns * c.x.stride);
  int64_t left = ((-c.x.padding % vector) + vector) % vector, width = conv2d_span(c.x, columns),
          height = conv2d_span(c.y, rows);
  return {samples, rows, columns, ceil_div(batch, samples) * tiles_h * ceil_div(c.x.out, columns),
          samples * height * rounded_up(left + width, vector)};
}

/// Cycles of a multiprocessor for a slice of 8 of the sum: its warps read fragments from shared memory and
/// multiply them.
double slice_cycles(int64_t x, int64_t y) {
  return static_cast<double>(kWarps * (4 * x + 2 * y) + 24 * x * y);
}
/// Of bringing words into shared memory and rounding them there, barrier included.
double stage_cycles(int64_t words) { return static_cast<double>(words) / 10 + 300; }

/// The template arguments of a kernel of conv2d_tiles.cuh, and what goes with them.
struct Tiles {
  std::string run;
  int64_t blocks, parts, shared_bytes = 0;
};
/// The best of them so far.
struct Best {
  std::optional<Tiles> tiles;
  double cycles = 0;
  void offer(double needed, int64_t shared_bytes, auto make) {
    if (shared_bytes > cuda_shared_bytes() || (tiles && needed >= cycles)) return;
    tiles = make(), cycles = needed;
    tiles->shared_bytes = shared_bytes;
  }
};

std::optional<Tiles> forward_tiles(int64_t batch, const Conv2d& c, bool turned, int64_t third, bool relu) {
  Best best;
  int64_t taps = c.y.kernel * c.x.kernel;
  for (int64_t x : {1, 2, 4})
    for (int64_t y : {1, 2, 4, 8})
      for (int64_t warps_m : {1, 2, 4})
        for (int64_t channels : {4, 8, 16, 32}) {
          int64_t tile_m = x * 16 * warps_m;
          if (x * y > 16 || (tile_m > 16 && tile_m >= 2 * c.out_channels) || channels >= c.in_channels + 4 ||
              channels * taps > 288)
            continue;
          Pixels pixels = pixels_of(batch, c, kWarps / warps_m * y * 8);
          int64_t tiles = ceil_div(c.out_channels, tile_m) * pixels.tiles,
                  per_block = ceil_div(tiles, kCudaBusyBlocks), slices = ceil_div(c.in_channels, channels);
          int64_t weight = turned ? channels * with_rest(tile_m * taps, 8, 16)
                                  : tile_m * with_rest(channels * taps, 4, 8),
                  stage = channels * with_rest(pixels.patch_words, 8, 16) + weight;
          double cycles = static_cast<double>(per_block * slices) *
                              (static_cast<double>(ceil_div(channels * taps, 8)) * slice_cycles(x, y) +
                               stage_cycles(stage)) +
                          static_cast<double>(per_block * tile_m * pixels.count()) / 4;
          best.offer(cycles, 2 * 4 * stage, [&] {
            std::string geometry = conv2d_geometry(batch, c);
            return Tiles{.run = device_function("conv2d_tensor", geometry, pixels.text(geometry), x, y,
                                                warps_m, channels, per_block, turned, third, relu),
                         .blocks = ceil_div(tiles, per_block),
                         .parts = 1};
          });
        }
  return best.tiles;
}

std::optional<Tiles> weight_tiles(int64_t batch, const Conv2d& c) {
  Best best;
  int64_t taps = c.y.kernel * c.x.kernel;
  for (int64_t x : {1, 2, 4})
    for (int64_t warps_m : {1, 2, 4})
      for (int64_t channels : {4, 8, 16, 32})
        for (int64_t warps_n : {1, 2, 4, 8})
          for (int64_t most : {32, 64, 128, 256, 512}) {
            int64_t tile_m = x * 16 * warps_m, y = ceil_div(channels * taps, 8 * warps_n);
            if (x * y > 18 || warps_m * warps_n > kWarps || (tile_m > 16 && tile_m >= 2 * c.out_channels) ||
                channels >= std::max<int64_t>(2 * c.in_channels, 5))
              continue;
            Pixels pixels = pixels_of(batch, c, most);
            int64_t tiles = ceil_div(c.out_channels, tile_m) * ceil_div(c.in_channels, channels),
                    per_block = ceil_div(pixels.tiles, std::max<int64_t>(1, kCudaBusyBlocks / tiles)),
                    parts = ceil_div(pixels.tiles, per_block), steps = ceil_div(pixels.count(), 8),
                    row = with_rest(channels * taps, 4, 8);
            int64_t stage =
                channels * with_rest(pixels.patch_words, 4, 8) + tile_m * with_rest(steps * 8, 4, 8);
            int64_t warps_k = kWarps / (warps_m * warps_n);
            double cycles = static_cast<double>(ceil_div(tiles * parts, kCudaBusyBlocks) * per_block) *
                                (static_cast<double>(ceil_div(steps, warps_k)) * (slice_cycles(x, y) + 200) +
                                 stage_cycles(stage)) +
                            static_cast<double>(warps_k * x * y * 200) + (parts > 1 ? 2000.0 : 0.0);
            int64_t sums = tile_m * (row + std::min(kCudaThreads, steps * 8));
            best.offer(cycles, 4 * std::max(2 * stage, sums), [&] {
              std::string geometry = conv2d_geometry(batch, c);
              return Tiles{.run = device_function("conv2d_dw_tensor", geometry, pixels.text(geometry), x, y,
                                                  warps_m, warps_n, channels, per_block),
                           .blocks = tiles * parts,
                           .parts = parts};
            });
          }
  return best.tiles;
}

std::optional<Tiles> tiles_of(const KernelRequest& request, const Conv2dProblem& p) {
  if (request.op == "conv2d_dw") return weight_tiles(p.batch, p.conv);
  bool dx = request.op == "conv2d_dx";
  return forward_tiles(p.batch, dx ? conv2d_input_gradient(p.conv) : p.conv, dx, p.third(), p.relu);
}

}  // namespace

std::string refuse_conv2d_tensor_cuda(const KernelRequest& request) {
  Conv2dProblem p = conv2d_problem(request);
  if (std::string refusal = refuse_conv2d_cuda(request, p); !refusal.empty()) return refusal;
  if (!tf32_allowed()) return "TF32 is switched off";
  const Conv2d& c = p.conv;
  if (request.op == "conv2d_dx" && (c.y.stride != 1 || c.x.stride != 1)) return "the stride is not 1";
  if (c.y.kernel * c.x.kernel > 31) return "more than 31 taps";
  if (std::max(c.in_channels * c.y.in * c.x.in, c.out_channels * c.y.out * c.x.out) * 8 >= int64_t{1} << 31 ||
      c.in_channels * c.out_channels >= int64_t{1} << 26)
    return "offsets in a sample or in the weight do not fit 32 bits";
  return tiles_of(request, p) ? "" : "the patch of a tile does not fit shared memory";
}

std::unique_ptr<PreparedKernel> prepare_conv2d_tensor_cuda(const KernelRequest& request) {
  Tiles tiles = *tiles_of(request, conv2d_problem(request));
  auto call = cuda_call(request, "conv2d_tiles.cuh");
  call->phases.push_back(
      {.chunks = tiles.blocks, .in_memory = true, .run = tiles.run, .shared_bytes = tiles.shared_bytes});
  if (tiles.parts > 1) add_conv2d_join(*call, request, tiles.parts);
  return call;
}

}  // namespace wholestep
