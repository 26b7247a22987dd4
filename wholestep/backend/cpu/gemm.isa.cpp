// The f32 matrix product: blocks that stay in cache, tiles that stay in registers. Operands are copied into
// contiguous blocks only where the copy is cheaper than reading them in place.
#include "wholestep/backend/cpu/gemm.h"

#include "wholestep/backend/cpu/gemm_pack.isa.h"
#include "wholestep/backend/cpu/gemm_tile.isa.h"
#include "wholestep/backend/cpu/kernels.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

// From how many rows of the product on a copy of a panel of B pays.
constexpr int64_t kRowsToCopyB = 64;

// The product as the tiles see it: S = A B, where S is C or its transpose.
struct Product {
  Matrix a, b;  // at the part's origin: [rows, depth], [depth, columns]
  int64_t rows, columns, depth;
  Epilogue epilogue;  // its bias starts at the part's origin
  float* c;           // at the part's origin
  int64_t ldc;
  bool transposed;  // S is C^T
};

// Where a row of B is not contiguous, its tiles have to be transposed. If A is the smaller of the two it
// costs less to transpose A and compute C^T, unless that leaves vectors mostly empty.
Product product_of(const Gemm& g, const GemmOperands& o, const GemmPart& part) {
  Matrix a = Matrix{o.a, g.transpose_a ? 1 : g.lda, g.transpose_a ? g.lda : 1}.at(part.m0, 0);
  Matrix b = Matrix{o.b, g.transpose_b ? 1 : g.ldb, g.transpose_b ? g.ldb : 1}.at(0, part.n0);
  int64_t m = part.m1 - part.m0, n = part.n1 - part.n0;
  Epilogue epilogue = {g.alpha, g.beta, o.bias == nullptr ? nullptr : o.bias + part.n0, g.relu, o.mask, o.c};
  float* c = o.c + part.m0 * g.ldc + part.n0;
  if (g.transpose_b && m < n && 2 * m >= kWidth)
    return {b.transposed(), a.transposed(), n, m, g.k, epilogue, c, g.ldc, true};
  return {a, b, m, n, g.k, epilogue, c, g.ldc, false};
}

struct Workspace {
  float *a, *b, *sums;
};

// A part of S that is computed at a time, over all of k.
struct Block {
  int64_t row0, rows, column0, columns;
  float* out;  // at the block's origin
  int64_t stride;
  bool finish_in_tiles;  // else `out` receives plain sums
};

// Copies the block's rows of A: row-major ones as they are but without gaps, k-major ones panel by panel.
void copy_a(const Matrix& a, const Pieces& panels, int64_t depth, int64_t stride, float* out) {
  if (a.column == 1) return copy_rows(a, panels.length(), depth, out, stride);
  for (int64_t i = 0; i < panels.count; ++i)
    copy_rows(a.at(panels.begin(i), 0).transposed(), depth, panels.size(i), out + panels.begin(i) * depth,
              panels.size(i));
}

// The operands of one block as its tiles read them: in place, or copies.
struct Operands {
  Pieces rows;   // of tiles
  int64_t wide;  // floats across a tile
  bool row_major, copied_a, copied_b;
  bool long_rows;  // copy all of B's block at once, not panel by panel
  Matrix a, b;
  int64_t depth, copy_stride;
  const Workspace& workspace;

  Matrix rows_of_a(int64_t row, int64_t height) const {
    if (!copied_a) return a.at(row, 0);
    if (row_major) return {workspace.a + row * copy_stride, copy_stride, 1};
    return {workspace.a + row * depth, 1, height};
  }
  Matrix columns_of_b(int64_t j, int64_t columns) const {
    const int64_t whole = round_up(columns, kWidth);
    if (long_rows) return {workspace.b + j * depth, whole, 1};
    if (copied_b || columns != whole) return {workspace.b, whole, 1};
    return b.at(0, j);
  }
};

Operands operands_of(const Product& p, const Block& block, int64_t k0, int64_t depth,
                     const Workspace& workspace) {
  const int64_t widest = block.rows <= kMaxRows[4] ? 4 : kWidest;
  const int64_t vecs = smaller(widest, (block.columns + kWidth - 1) / kWidth);
  const Matrix a = p.a.at(block.row0, k0), b = p.b.at(k0, block.column0);
  return {.rows = Pieces(block.rows, kMaxRows[vecs]),
          .wide = vecs * kWidth,
          .row_major = a.column == 1,
          .copied_a = block.columns >= kGemmColumnsToCopyA,
          .copied_b = b.column != 1 || block.rows >= kRowsToCopyB,
          .long_rows = b.column == 1 && gemm_in_long_rows(p.rows, p.columns, p.depth),
          .a = a,
          .b = b,
          .depth = depth,
          .copy_stride = gemm_padded(depth),
          .workspace = workspace};
}

// Adds k in [k0, k0 + depth) to the block's sums.
void multiply(const Product& p, const Block& block, int64_t k0, int64_t depth, const Workspace& workspace) {
  const Operands o = operands_of(p, block, k0, depth, workspace);
  const bool finish = block.finish_in_tiles && k0 + depth == p.depth && !is_plain(p.epilogue);
  Epilogue epilogue = p.epilogue;
  auto panel = [&](int64_t j) {  // the tiles of columns from j on, but for their rows
    const int64_t columns = smaller(o.wide, block.columns - j);
    const Matrix b = o.columns_of_b(j, columns);
    if (epilogue.bias != nullptr) epilogue.bias = p.epilogue.bias + block.column0 + j;
    return Tile{.b = b.data,
                .b_stride = b.row,
                .depth = depth,
                .ldc = block.stride,
                .columns = columns,
                .resume = k0 > 0,
                .epilogue = finish ? &epilogue : nullptr};
  };
  auto compute = [&](Tile& tile, int64_t i, int64_t j) {
    const int64_t row = o.rows.begin(i), height = o.rows.size(i), vecs = (tile.columns + kWidth - 1) / kWidth;
    const Matrix a = o.rows_of_a(row, height);
    tile.a = a.data;
    tile.a_stride = o.row_major ? a.row : a.column;
    tile.c = block.out + row * block.stride + j;
    (o.row_major ? tile_of<RowMajor>(height, vecs) : tile_of<KMajor>(height, vecs))(tile);
  };
  if (o.copied_a) copy_a(o.a, o.rows, depth, o.copy_stride, workspace.a);
  if (o.long_rows) pack_panels(o.b, depth, block.columns, o.wide, workspace.b);
  if (o.long_rows && p.depth <= kGemmShallow) {
    for (int64_t i = 0; i < o.rows.count; ++i)
      for (int64_t j = 0; j < block.columns; j += o.wide) {
        Tile tile = panel(j);
        compute(tile, i, j);
      }
    return;
  }
  for (int64_t j = 0; j < block.columns; j += o.wide) {
    Tile tile = panel(j);
    if (tile.b == workspace.b && !o.long_rows)
      pack_panel(o.b.at(0, j), depth, tile.columns, tile.b_stride / kWidth, workspace.b);
    for (int64_t i = 0; i < o.rows.count; ++i) compute(tile, i, j);
  }
}

// From the sums of a block of S = C to C.
void finish_block(const Product& p, const Block& block) {
  for (int64_t i = 0; i < block.rows; ++i) {
    for (int64_t j = 0; j < block.columns; j += kWidth) {
      const int64_t lanes = smaller(kWidth, block.columns - j);
      const float* bias = p.epilogue.bias == nullptr ? nullptr : p.epilogue.bias + block.column0 + j;
      float* c = p.c + (block.row0 + i) * p.ldc + block.column0 + j;
      Vec sums = load_first(block.out + i * block.stride + j, lanes);
      store_first(c, finish(sums, c, bias, lanes, p.epilogue), lanes);
    }
  }
}

// From the sums of a block of S = C^T to C.
void finish_transposed_block(const Product& p, const Block& block) {
  for (int64_t i = 0; i < block.rows; i += kWidth) {
    const int64_t lanes = smaller(kWidth, block.rows - i);
    const float* bias = p.epilogue.bias == nullptr ? nullptr : p.epilogue.bias + block.row0 + i;
    for (int64_t j = 0; j < block.columns; j += kWidth) {
      const int64_t c_rows = smaller(kWidth, block.columns - j);
      Vec square[kWidth];
#pragma GCC unroll 16
      for (int r = 0; r < kWidth; ++r)
        square[r] = r < lanes ? load_first(block.out + (i + r) * block.stride + j, c_rows) : zero();
      transpose(square);
      float* c = p.c + (block.column0 + j) * p.ldc + block.row0 + i;
#pragma GCC unroll 16
      for (int r = 0; r < kWidth; ++r)
        if (r < c_rows)
          store_first(c + r * p.ldc, finish(square[r], c + r * p.ldc, bias, lanes, p.epilogue), lanes);
    }
  }
}

}  // namespace

void gemm(const Gemm& g, const GemmOperands& operands, const GemmPart& part, void* scratch) {
  const Product p = product_of(g, operands, part);
  const bool into_c =
      !p.transposed && (g.beta == 0 || p.depth <= gemm_block_depth(p.rows, p.columns, p.depth));
  Workspace workspace;
  const GemmScratch floats = gemm_scratch(p.rows, p.columns, p.depth);
  workspace.a = static_cast<float*>(scratch);
  workspace.b = workspace.a + floats.a;
  workspace.sums = workspace.b + floats.b;
  const Pieces depths(p.depth, gemm_block_depth(p.rows, p.columns, p.depth));
  for (int64_t column0 = 0; column0 < p.columns; column0 += kGemmBlockN) {
    for (int64_t row0 = 0; row0 < p.rows; row0 += kGemmBlockM) {
      Block block = {.row0 = row0,
                     .rows = smaller(kGemmBlockM, p.rows - row0),
                     .column0 = column0,
                     .columns = smaller(kGemmBlockN, p.columns - column0),
                     .out = p.c + row0 * p.ldc + column0,
                     .stride = p.ldc,
                     .finish_in_tiles = into_c};
      if (!into_c) {
        block.out = workspace.sums;
        block.stride = gemm_padded(block.columns);
      }
      for (int64_t i = 0; i < depths.count; ++i)
        multiply(p, block, depths.begin(i), depths.size(i), workspace);
      if (!into_c) p.transposed ? finish_transposed_block(p, block) : finish_block(p, block);
    }
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
