// Matrix products on raw pointers, in parts that callers spread over threads.
#pragma once
#include <cstdint>

namespace wholestep {

/// C[m, n] = relu(alpha * op(A)[m, k] * op(B)[k, n] + beta * C + bias[n]), all row-major.
///
/// The bits of C[i, j] follow from the operands and the instruction set alone, whatever m, n, the blocking
/// and the parts: sum = 0; for k = 0, 1, ...: sum = fma(A[i, k], B[k, j], sum); then alpha * sum, + beta * C,
/// + bias and relu, each rounded by itself, as separate operations would. (The portable kernels of x86-64
/// multiply and add where the others fuse.) relu(t) = t < 0 ? 0 : t, which keeps NaN.
struct Gemm {
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false;           ///< A is stored [k, m] instead of [m, k]
  bool transpose_b = false;           ///< B is stored [n, k] instead of [k, n]
  int64_t lda = 0, ldb = 0, ldc = 0;  ///< elements from one stored row to the next
  float alpha = 1;
  float beta = 0;  ///< C is not read where beta is 0
  bool relu = false;
};

struct GemmOperands {
  const float* a;
  const float* b;
  const float* bias;  ///< [n], or null
  float* c;
  const void* packed = nullptr;  ///< what CpuKernels::pack_shared made of a or b, if anything
  const float* mask = nullptr;   ///< as C, or null: where it is not above 0, C becomes 0, last of all
};

/// Which part of C to compute: rows [m0, m1), columns [n0, n1). Pointers stay those of the whole matrices.
struct GemmPart {
  int64_t m0, m1, n0, n1;
};

/// Scratch for any part of `gemm` on any instruction set, to be aligned to 64 bytes; contents do not matter.
/// Parts that run at the same time need one each.
int64_t gemm_workspace_bytes(const Gemm& gemm);

/// The f64 reference of the same formula: plain loops, no workspace, multiply and add rounded separately.
void gemm_f64(const Gemm& gemm, const double* a, const double* b, const double* bias, double* c);

// Blocks of the f32 kernels, in elements: a block of A and one of B stay in the second-level cache.
constexpr int64_t kGemmBlockM = 336;  // a multiple of every kernel's tile height
constexpr int64_t kGemmBlockN = 512;
constexpr int64_t kGemmWidestTile = 64;
/// From how many columns of the product on a copy of A pays.
constexpr int64_t kGemmColumnsToCopyA = 256;
/// Up to this depth more time goes into writing C than into reading B.
constexpr int64_t kGemmShallow = 64;
/// The depth of a block: for few columns of an A beyond the caches the time goes into reading A, which is
/// faster in long rows.
int64_t gemm_block_depth(int64_t rows, int64_t columns, int64_t depth);
/// Whether B or C is beyond the caches, so that reading and writing it in long rows comes first.
bool gemm_in_long_rows(int64_t rows, int64_t columns, int64_t depth);

/// Floats of scratch for a product of that size: copies of a block of A and of B (one panel of it, or all),
/// unfinished sums.
struct GemmScratch {
  int64_t a, b, sums;
};
GemmScratch gemm_scratch(int64_t rows, int64_t columns, int64_t depth);

/// `n` floats in whole cache lines and one more, so that consecutive rows do not meet in the same cache set.
int64_t gemm_padded(int64_t n);

}  // namespace wholestep
