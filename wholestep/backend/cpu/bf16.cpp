#include "wholestep/backend/cpu/bf16.h"

#include <algorithm>

#include "wholestep/backend/backend.h"
#include "wholestep/backend/cpu/conv_geometry.h"
#include "wholestep/backend/cpu/conv_scratch.h"
#include "wholestep/base/integers.h"

namespace wholestep {
namespace {

constexpr int64_t kRows = 16, kDepth = 32, kTileBytes = 1024, kBlock = 32;
// What the pixels of a block may take of the second-level cache.
constexpr int64_t kPixelBytes = 256 << 10, kMostVectors = 32, kPixels = 512;

int64_t taps_of_group(const Conv2d& conv) {
  return conv.in_channels / conv.groups * conv.y.kernel * conv.x.kernel;
}

}  // namespace

int64_t bf16_tile_bytes(int64_t rows, int64_t depth) {
  return ceil_div(rows, kRows) * ceil_div(depth, kDepth) * kTileBytes;
}
int64_t bf16_sum_bytes(int64_t rows, int64_t columns) {
  return ceil_div(rows, kBlock) * ceil_div(columns, kBlock) * 4 * kTileBytes;
}

Bf16GemmScratch bf16_gemm_scratch(int64_t rows, int64_t columns, int64_t depth) {
  const int64_t m = std::min(rows, kBf16BlockM), n = std::min(columns, kBf16BlockN),
                k = std::min(depth, kBf16BlockK);
  Bf16GemmScratch place = {.a = 0, .b = bf16_tile_bytes(m, k), .sums = 0, .total = 0};
  place.sums = place.b + bf16_tile_bytes(n, k);
  place.total = place.sums + bf16_sum_bytes(m, n);
  return place;
}

bool bf16_shares_a(const Gemm& g) { return g.transpose_b && g.m < g.n; }
int64_t bf16_shared_bytes(const Gemm& g) { return bf16_tile_bytes(bf16_shares_a(g) ? g.m : g.n, g.k); }

Bf16CorrelationScratch bf16_correlation_scratch(int64_t channels, int64_t taps) {
  const int64_t vector_bytes = std::max(kTileBytes, bf16_tile_bytes(kRows, taps)),
                b_bytes = std::min(kMostVectors * vector_bytes, std::max(kPixelBytes, 2 * vector_bytes));
  Bf16CorrelationScratch place = {};  // of fewer taps, as a phase of a gradient has, no larger
  place.vectors = b_bytes / vector_bytes / 2 * 2;
  place.b = bf16_tile_bytes(channels, taps);
  place.sums = place.b + b_bytes;
  place.total = place.sums + bf16_sum_bytes(1, 1);
  return place;
}

Bf16WeightGradientScratch bf16_weight_gradient_scratch(const Conv2d& conv) {
  const Planes planes = input_planes(conv);
  const int64_t group_out = conv.out_channels / conv.groups, taps = taps_of_group(conv);
  Bf16WeightGradientScratch place = {};
  place.pixels = kPixels;
  place.dy_channel = ceil_div((conv.y.out - 1) * planes.pitch + conv.x.out, kDepth) * kDepth;
  place.plane_floats = conv.in_channels * planes.channel_floats + kDepth;
  place.offsets = aligned(place.plane_floats * static_cast<int64_t>(sizeof(float)));
  place.dy = place.offsets + aligned(taps * static_cast<int64_t>(sizeof(int32_t)));
  place.a = place.dy + aligned(group_out * place.dy_channel * 2);
  place.b = place.a + bf16_tile_bytes(taps, kPixels);
  place.sums = place.b + bf16_tile_bytes(group_out, kPixels);
  place.total = place.sums + conv.groups * bf16_sum_bytes(taps, group_out);
  return place;
}

int64_t bf16_gemm_workspace_bytes(const Gemm& g) {
  return std::max(bf16_gemm_scratch(g.m, g.n, g.k).total, bf16_gemm_scratch(g.n, g.m, g.k).total);
}
int64_t bf16_conv_forward_workspace_bytes(const Conv2d& conv) {
  return conv_forward_workspace_bytes(conv) +
         bf16_correlation_scratch(conv.out_channels / conv.groups, taps_of_group(conv)).total;
}
int64_t bf16_conv_input_gradient_workspace_bytes(const Conv2d& conv) {
  const int64_t taps = conv.out_channels / conv.groups * conv.y.kernel * conv.x.kernel;
  return conv_input_gradient_workspace_bytes(conv) +
         bf16_correlation_scratch(conv.in_channels / conv.groups, taps).total;
}
int64_t bf16_conv_weight_gradient_workspace_bytes(const Conv2d& conv) {
  return bf16_weight_gradient_scratch(conv).total;
}

}  // namespace wholestep
