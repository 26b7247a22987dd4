// Copies that gather: every element of the result is read where it comes from, V side by side at a time.
#pragma once
#include "elements.cuh"

/// Element i of the result is at OFFSET + From::offset(i) of x.
template <class E, int64_t MOST, int64_t OFFSET, class From, int V, class T>
__device__ void strided_copy(Lane lane, const T* x, T* y, char*) {
  using I = IndexFor<MOST>;
  const auto own = E::of(lane);
  // A reshape that lies over its operand. Pointers point an own distance before what a lane has in shared memory: only
  // addresses of elements tell.
  if (x + OFFSET + From::offset(I(own.begin)) == y + own.begin) return;
#pragma unroll 2
  for (I i = I(own.begin) + threadIdx.x * V; i < own.end; i += kThreads * V) {
    const T* from = x + OFFSET + From::offset(i);
    Vector<T, V> values;
    if constexpr (From::kInnerStride == 1) values = *reinterpret_cast<const Vector<T, V>*>(from);
    else
      for (T& value : values.at) value = *from;
    *reinterpret_cast<Vector<T, V>*>(y + i) = values;
  }
}

/// A copy whose result runs along B (stride B_STRIDE in x) while x runs along A (stride A_STRIDE in y): tiles
/// cross over in shared memory, so that both sides are touched in order. The other axes are From in x, To in
/// y.
constexpr int64_t kTransposeTile = 64;
template <int64_t OFFSET, class From, class To, int64_t A, int64_t A_STRIDE, int64_t B, int64_t B_STRIDE,
          class T>
__device__ void transpose_copy(Lane lane, const T* x, T* y, char*) {
  constexpr int64_t kSide = kTransposeTile, kTilesA = (A + kSide - 1) / kSide,
                    kTilesB = (B + kSide - 1) / kSide;
  constexpr int kRows = kThreads / kSide, kEach = kSide / kRows;
  auto tile = reinterpret_cast<T(*)[kSide + 1]>(lane.shared);
  const int64_t other = lane.chunk / (kTilesA * kTilesB), first_a = lane.chunk / kTilesB % kTilesA * kSide,
                first_b = lane.chunk % kTilesB * kSide;
  const int column = threadIdx.x % kSide, row = threadIdx.x / kSide;
  const T* from = x + OFFSET + From::offset(other) + first_b * B_STRIDE + first_a;
  T* to = y + To::offset(other) + first_a * A_STRIDE + first_b;
  T held[kEach];
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int r = row + k * kRows;
    if (first_a + column < A && first_b + r < B) held[k] = from[r * B_STRIDE + column];
  }
#pragma unroll
  for (int k = 0; k < kEach; ++k) tile[row + k * kRows][column] = held[k];
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int r = row + k * kRows;
    if (first_a + r < A && first_b + column < B) to[r * A_STRIDE + column] = tile[column][r];
  }
}

/// Zeros around x: of every WHOLE elements PART come from x, after BEFORE.
template <class E, int64_t MOST, int64_t WHOLE, int64_t BEFORE, int64_t PART, int V, class T>
__device__ void pad_copy(Lane lane, const T* x, T* y, char*) {
  using I = IndexFor<MOST>;
  const auto own = E::of(lane);
#pragma unroll 2
  for (I i = I(own.begin) + threadIdx.x * V; i < own.end; i += kThreads * V) {
    const I outer = i / I(WHOLE), place = i % I(WHOLE);
    Vector<T, V> values = {};
    if (place >= I(BEFORE) && place < I(BEFORE + PART))
      values = *reinterpret_cast<const Vector<T, V>*>(x + outer * I(PART) + (place - I(BEFORE)));
    *reinterpret_cast<Vector<T, V>*>(y + i) = values;
  }
}
