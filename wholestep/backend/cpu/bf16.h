// Scratch memory of products in bf16, and the sizes of their blocks.
#pragma once
#include "wholestep/backend/cpu/conv.h"
#include "wholestep/backend/cpu/gemm.h"

namespace wholestep {

// As gemm_workspace_bytes() and its like, for the kernels of bf16_kernels().
int64_t bf16_gemm_workspace_bytes(const Gemm& gemm);
int64_t bf16_conv_forward_workspace_bytes(const Conv2d& conv);
int64_t bf16_conv_input_gradient_workspace_bytes(const Conv2d& conv);
int64_t bf16_conv_weight_gradient_workspace_bytes(const Conv2d& conv);

// A block of A, one of B and their sums stay in the second-level cache.
constexpr int64_t kBf16BlockM = 256, kBf16BlockN = 512, kBf16BlockK = 512;
// Where B is there in tiles already and has at most so many columns, a tile of A is read only once or twice:
// blocks that stay in the first-level cache.
constexpr int64_t kBf16FewColumns = 64, kBf16ThinM = 32, kBf16ThinK = 128;

/// Bytes of a matrix in tiles of 16 x 32, and of sums in blocks of 32 x 32.
int64_t bf16_tile_bytes(int64_t rows, int64_t depth);
int64_t bf16_sum_bytes(int64_t rows, int64_t columns);

/// Where a product of that size keeps its operands and sums, in bytes.
struct Bf16GemmScratch {
  int64_t a, b, sums, total;
};
Bf16GemmScratch bf16_gemm_scratch(int64_t rows, int64_t columns, int64_t depth);

/// Parts of a product that are columns share A, if the rows of B^T are contiguous, and parts that are rows
/// share B.
bool bf16_shares_a(const Gemm& gemm);
int64_t bf16_shared_bytes(const Gemm& gemm);

/// The same for a correlation of `channels` outputs over `taps`, which has `vectors` vectors of pixels in B
/// at a time.
struct Bf16CorrelationScratch {
  int64_t a, b, sums, total, vectors;
};
Bf16CorrelationScratch bf16_correlation_scratch(int64_t channels, int64_t taps);

/// And for the gradient of a convolution's weight, of `pixels` pixels at a time.
struct Bf16WeightGradientScratch {
  int64_t planes, offsets, dy, a, b, sums, total, pixels;
  int64_t dy_channel;    ///< values of bf16 from one channel of dy to the next
  int64_t plane_floats;  ///< of all planes, and behind them as many zeros as are read at most
};
Bf16WeightGradientScratch bf16_weight_gradient_scratch(const Conv2d& conv);

}  // namespace wholestep
