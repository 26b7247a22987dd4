// A batch of products: every block has a tile of one of them and runs the function of a single product there.
#pragma once
#include "matmul.cuh"

/// Calls tile(lane, a, b, c) for the tile and the matrices of this block, TILES blocks a product.
template <class T, int64_t TILES, int64_t M, int64_t N, int64_t K, class Tile>
__device__ void in_batch(Lane lane, const T* a, const T* b, T* c, Tile tile) {
  const int64_t batch = lane.chunk / TILES;
  tile(Lane{lane.chunk % TILES, lane.shared}, a + batch * (M * K), b + batch * (K * N), c + batch * (M * N));
}

template <class T, int64_t TILES, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int TM, int TN, int TK>
__device__ void batch_matmul_tiles(Lane lane, const T* a, const T* b, T* c, char*) {
  in_batch<T, TILES, M, N, K>(lane, a, b, c, [](Lane own, const T* from_a, const T* from_b, T* to) {
    matmul_tiles<T, M, N, K, TA, TB, false, false, TM, TN, TK, 1>(own, from_a, from_b, to, nullptr);
  });
}

template <class Tile, int64_t TILES, int64_t M, int64_t N, int64_t K, bool TA, bool TB>
__device__ void batch_matmul_tensor(Lane lane, const float* a, const float* b, float* c, char*) {
  in_batch<float, TILES, M, N, K>(lane, a, b, c, [](Lane own, const float* from_a, const float* from_b, float* to) {
    matmul_tensor<Tile, M, N, K, TA, TB, false, false, 1>(own, from_a, from_b, to, nullptr);
  });
}
