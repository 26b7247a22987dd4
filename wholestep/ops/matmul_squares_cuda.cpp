// How the sum of squares of a product is shared out among blocks: runs of columns of either operand.
#include "wholestep/backend/cuda/call.h"
#include "wholestep/ops/matmul_fused.h"

namespace wholestep {
namespace {

/// As GramTiles in matmul_squares.cuh.
struct GramTiles {
  explicit GramTiles(int64_t k)
      : side(ceil_div(k, 8)),
        square(side <= 4 ? side : 3),
        squares(side > 0 ? ceil_div(side, square) : 0),
        pairs(squares * (squares + 1) / 2),
        tiles(side * (side + 1) / 2) {}
  int64_t side, square, squares, pairs, tiles;
};

/// As Columns there.
int64_t steps_of(int64_t extent, bool along_sum, DType dtype) {
  const int64_t vector = 16 / size_bytes(dtype);
  return ceil_div(extent, 4 * (!along_sum && extent % vector == 0 ? vector : 1));
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_matmul_squares_cuda(const KernelRequest& request) {
  constexpr int64_t kWarps = kCudaThreads / 32, kTileBytes = 64 * sizeof(double);
  const MatmulDims d = product_dims(request);
  const DType dtype = request.inputs[0].dtype;
  const GramTiles gram(d.k);
  const int64_t of_a = steps_of(d.m, !d.transpose_a, dtype), of_b = steps_of(d.n, d.transpose_b, dtype),
                per_block = std::max(kWarps, ceil_div(of_a + of_b, kCudaBusyBlocks - 1)),
                blocks = ceil_div(of_a, per_block) + ceil_div(of_b, per_block),
                sums = std::max(gram.square * (gram.square + 1) / 2,
                                gram.pairs > 1 ? gram.square * gram.square : 0);
  const std::string squares =
      device_function("MatmulSquares", dtype, d.m, d.n, d.k, d.transpose_a, d.transpose_b, per_block);
  auto call = cuda_call(request, "matmul_squares.cuh");
  const int64_t results_bytes = gram.tiles * 2 * int64_t{sizeof(double)};
  call->workspace_bytes = results_bytes + blocks * gram.tiles * kTileBytes;
  if (gram.tiles > 0) {
    call->phases.push_back({.chunks = blocks * gram.pairs,
                            .writes = 0,
                            .run = device_function("matmul_squares_grams", squares),
                            .shared_bytes = kWarps / 2 * sums * kTileBytes});
    call->phases.push_back({.chunks = gram.tiles,
                            .reads = 0,
                            .writes = 0,
                            .run = device_function("matmul_squares_join", squares),
                            .shared_bytes = 2 * kCudaThreads * int64_t{sizeof(double)}});
  }
  call->phases.push_back({.chunks = 1,
                          .reads = 0,
                          .workspace_bytes = results_bytes,
                          .run = device_function("matmul_squares_result", gram.tiles),
                          .shared_bytes = kCudaSumBytes});
  return call;
}

}  // namespace wholestep
