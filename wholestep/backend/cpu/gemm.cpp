// What the matrix product needs beside its kernels: the size of the scratch memory, and the f64 reference.
#include "wholestep/backend/cpu/gemm.h"

#include <algorithm>
#include <utility>

namespace wholestep {
namespace {
// From kLarge floats on a matrix is beyond the caches.
constexpr int64_t kFewColumns = 64, kLarge = 1 << 19;
}  // namespace

int64_t gemm_padded(int64_t n) { return (n + 15) / 16 * 16 + 16; }

int64_t gemm_block_depth(int64_t rows, int64_t columns, int64_t depth) {
  return columns <= kFewColumns && rows * depth >= kLarge ? 1024 : 192;
}

bool gemm_in_long_rows(int64_t rows, int64_t columns, int64_t depth) {
  return columns * (depth <= kGemmShallow ? rows : depth) >= kLarge;
}

GemmScratch gemm_scratch(int64_t rows, int64_t columns, int64_t depth) {
  const int64_t m = std::min(rows, kGemmBlockM), n = std::min(columns, kGemmBlockN);
  const int64_t k = std::min(depth, gemm_block_depth(rows, columns, depth));
  const bool all_of_b = gemm_in_long_rows(rows, columns, depth);
  return {.a = columns < kGemmColumnsToCopyA ? 0 : m * gemm_padded(k),
          .b = k * (all_of_b ? (n + 15) / 16 * 16 : kGemmWidestTile),
          .sums = m * gemm_padded(n)};
}

int64_t gemm_workspace_bytes(const Gemm& g) {
  int64_t most = 0;
  for (auto [rows, columns] :
       {std::pair(g.m, g.n), std::pair(g.n, g.m)})                    // a kernel may compute C transposed
    for (int64_t part : {columns, std::min(columns, kFewColumns)}) {  // a narrow part has deeper blocks
      GemmScratch floats = gemm_scratch(rows, part, g.k);
      most = std::max(most, floats.a + floats.b + floats.sums);
    }
  return most * static_cast<int64_t>(sizeof(float));
}

void gemm_f64(const Gemm& g, const double* a, const double* b, const double* bias, double* c) {
  int64_t a_row = g.transpose_a ? 1 : g.lda, a_k = g.transpose_a ? g.lda : 1;
  int64_t b_k = g.transpose_b ? 1 : g.ldb, b_column = g.transpose_b ? g.ldb : 1;
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < g.k; ++k) sum += a[i * a_row + k * a_k] * b[k * b_k + j * b_column];
      double& out = c[i * g.ldc + j];
      double value = g.alpha * sum;
      if (g.beta != 0) value += g.beta * out;
      if (bias != nullptr) value += bias[j];
      out = g.relu && value < 0 ? 0 : value;
    }
  }
}

}  // namespace wholestep
