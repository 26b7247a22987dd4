// A batch of products: every block has a tile of one of them, over a part of its sum, and runs the function of a single
// product there.
#pragma once
#include "matmul.cuh"

/// Calls tile(lane, a, b, c, workspace) for the tile and the matrices of this block, BLOCKS blocks a product. The
/// workspace holds the parts of the sums of all products, [SPLITS, batch, M, N], for matmul_join.
template <class T, int64_t BLOCKS, int64_t M, int64_t N, int64_t K, class Tile>
__device__ void in_batch(Lane lane, const T* a, const T* b, T* c, char* workspace, Tile tile) {
  const int64_t batch = lane.chunk / BLOCKS;
  tile(Lane{lane.chunk % BLOCKS, lane.shared}, a + batch * (M * K), b + batch * (K * N), c + batch * (M * N),
       workspace + batch * (M * N * int64_t(sizeof(T))));
}

template <class T, int64_t BATCH, int64_t BLOCKS, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int TM, int TN,
          int TK, int SPLITS>
__device__ void batch_matmul_tiles(Lane lane, const T* a, const T* b, T* c, char* workspace) {
  in_batch<T, BLOCKS, M, N, K>(
      lane, a, b, c, workspace, [](Lane own, const T* from_a, const T* from_b, T* to, char* parts) {
        matmul_tiles<T, M, N, K, TA, TB, false, false, TM, TN, TK, SPLITS, BATCH * M * N>(own, from_a, from_b, to, parts);
      });
}

template <class Tile, int64_t BATCH, int64_t BLOCKS, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int SPLITS>
__device__ void batch_matmul_tensor(Lane lane, const float* a, const float* b, float* c, char* workspace) {
  in_batch<float, BLOCKS, M, N, K>(
      lane, a, b, c, workspace, [](Lane own, const float* from_a, const float* from_b, float* to, char* parts) {
        matmul_tensor<Tile, M, N, K, TA, TB, false, false, SPLITS, BATCH * M * N>(own, from_a, from_b, to, parts);
      });
}
