// The matrix product in bf16: blocks of A and B are rounded into tiles that stay in cache, blocks of sums are
// finished when their last k has been added.
#include "wholestep/backend/cpu/bf16.h"
#include "wholestep/backend/cpu/bf16_pack.bf16.h"
#include "wholestep/backend/cpu/gemm.h"
#include "wholestep/backend/cpu/gemm_tile.isa.h"
#include "wholestep/backend/cpu/kernels.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

// S = A B, where S is C, or C^T.
struct Product {
  Matrix a, b;           // at the part's origin: [rows, depth], [depth, columns]
  const char* packed_b;  // null, or all of B in tiles, from the part's columns on
  int64_t rows, columns, depth;
  Epilogue epilogue;
  float* c;
  int64_t ldc;
  bool transposed;  // S is C^T

  bool thin() const { return packed_b != nullptr && columns <= kBf16FewColumns; }
  int64_t block_rows() const { return thin() ? kBf16ThinM : kBf16BlockM; }
  int64_t block_depth() const { return thin() ? kBf16ThinK : kBf16BlockK; }
};

// From the sums of at most 32 x 32 outputs at (i, j) to C.
void finish_block(const Product& p, const float* sums, int64_t i, int64_t j) {
  const int64_t rows = smaller(kBlock, p.rows - i), columns = smaller(kBlock, p.columns - j);
  for (int64_t v = 0; v < columns; v += kWidth) {
    const int64_t lanes = smaller(kWidth, columns - v);
    const float* bias = p.epilogue.bias == nullptr ? nullptr : p.epilogue.bias + j + v;
    for (int64_t r = 0; r < rows; ++r) {
      float* c = p.c + (i + r) * p.ldc + j + v;
      store_first(c, finish(load(sums + r * kBlock + v), c, bias, lanes, p.epilogue), lanes);
    }
  }
}

void finish_transposed_block(const Product& p, const float* sums, int64_t i, int64_t j) {
  const int64_t rows = smaller(kBlock, p.rows - i), columns = smaller(kBlock, p.columns - j);
  for (int64_t r = 0; r < rows; r += kWidth) {
    const int64_t lanes = smaller(kWidth, rows - r);
    const float* bias = p.epilogue.bias == nullptr ? nullptr : p.epilogue.bias + i + r;
    for (int64_t v = 0; v < columns; v += kWidth) {
      Vec square[kWidth];
#pragma GCC unroll 16
      for (int q = 0; q < kWidth; ++q) square[q] = load(sums + (r + q) * kBlock + v);
      transpose(square);
      const int64_t c_rows = smaller(kWidth, columns - v);
#pragma GCC unroll 16
      for (int q = 0; q < kWidth; ++q) {
        if (q >= c_rows) break;
        float* c = p.c + (j + v + q) * p.ldc + i + r;
        store_first(c, finish(square[q], c, bias, lanes, p.epilogue), lanes);
      }
    }
  }
}

// All of k for rows [row0, row0 + rows) and columns [column0, column0 + columns).
void multiply_block(const Product& p, int64_t row0, int64_t rows, int64_t column0, int64_t columns,
                    char* memory) {
  const Bf16GemmScratch place = bf16_gemm_scratch(p.rows, p.columns, p.depth);
  char *a = memory + place.a, *b = memory + place.b;
  auto* sums = reinterpret_cast<float*>(memory + place.sums);
  int64_t k0 = 0;
  do {  // also where there is no k
    const int64_t depth = smaller(p.block_depth(), p.depth - k0), steps = steps_of(depth);
    const int64_t b_bytes = (p.packed_b == nullptr ? steps : steps_of(p.depth)) * kTileBytes;
    const bool last = k0 + depth == p.depth, at_once = last && k0 == 0;
    pack_a(p.a.at(row0, k0), rows, depth, a);
    if (p.packed_b == nullptr) pack_b(p.b.at(k0, column0), depth, columns, b);
    else b = const_cast<char*>(p.packed_b) + column0 / kTile * b_bytes + k0 / kTileDepth * kTileBytes;
    for (int64_t j = 0; j < columns; j += kBlock)
      for (int64_t i = 0; i < rows; i += kBlock) {
        const bool into_c =
            at_once && !p.transposed && is_plain(p.epilogue) && rows - i >= kBlock && columns - j >= kBlock;
        float* block =
            sums +
            (at_once ? 0 : (j / kBlock * ((rows + kBlock - 1) / kBlock) + i / kBlock) * kBlock * kBlock);
        multiply({.a = a + i / kTile * steps * kTileBytes,
                  .a_bytes = steps * kTileBytes,
                  .b = b + j / kTile * b_bytes,
                  .b_bytes = b_bytes,
                  .steps = steps,
                  .c = into_c ? p.c + (row0 + i) * p.ldc + column0 + j : block,
                  .ldc = into_c ? p.ldc : kBlock,
                  .resume = k0 > 0,
                  .row_tiles = rows - i > kTile ? 2 : 1,
                  .column_tiles = columns - j > kTile ? 2 : 1});
        if (last && !into_c)
          (p.transposed ? finish_transposed_block : finish_block)(p, block, row0 + i, column0 + j);
      }
    k0 += depth;
  } while (k0 < p.depth);
}

}  // namespace

void pack_shared(const Gemm& g, const GemmOperands& o, int64_t begin, int64_t end, void* packed) {
  const Matrix shared = bf16_shares_a(g) ? Matrix{o.a, g.transpose_a ? g.lda : 1, g.transpose_a ? 1 : g.lda}
                                         : Matrix{o.b, g.transpose_b ? 1 : g.ldb, g.transpose_b ? g.ldb : 1};
  pack_b(shared.at(0, begin), g.k, end - begin,
         static_cast<char*>(packed) + begin / kTile * steps_of(g.k) * kTileBytes);
}

void gemm(const Gemm& g, const GemmOperands& o, const GemmPart& part, void* scratch) {
  const Matrix a = Matrix{o.a, g.transpose_a ? 1 : g.lda, g.transpose_a ? g.lda : 1}.at(part.m0, 0);
  const Matrix b = Matrix{o.b, g.transpose_b ? 1 : g.ldb, g.transpose_b ? g.ldb : 1}.at(0, part.n0);
  const bool transposed = o.packed != nullptr && bf16_shares_a(g);
  const int64_t first_shared = transposed ? part.m0 : part.n0;
  Product p = {
      .a = a,
      .b = b,
      .packed_b = o.packed == nullptr ? nullptr
                                      : static_cast<const char*>(o.packed) +
                                            first_shared / kTile * steps_of(g.k) * kTileBytes,
      .rows = part.m1 - part.m0,
      .columns = part.n1 - part.n0,
      .depth = g.k,
      .epilogue = {g.alpha, g.beta, o.bias == nullptr ? nullptr : o.bias + part.n0, g.relu, o.mask, o.c},
      .c = o.c + part.m0 * g.ldc + part.n0,
      .ldc = g.ldc,
      .transposed = transposed};
  if (transposed) {
    p.a = b.transposed(), p.b = a.transposed();
    p.rows = part.n1 - part.n0, p.columns = part.m1 - part.m0;
  }
  const TileRegisters registers;
  for (int64_t j = 0; j < p.columns; j += kBf16BlockN)
    for (int64_t i = 0; i < p.rows; i += p.block_rows())
      multiply_block(p, i, smaller(p.block_rows(), p.rows - i), j, smaller(kBf16BlockN, p.columns - j),
                     static_cast<char*>(scratch));
}

}  // namespace wholestep::WHOLESTEP_ISA
