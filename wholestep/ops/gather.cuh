// Rows by index: gather_rows moves words, scatter_add_rows adds in the order of the indices, take wraps around.
#pragma once
#include "elements.cuh"

/// Of rows of WORDS words of N pieces. A row that is not there is all ones, as on the CPU.
template <class E, int64_t ROWS, int64_t WORDS, class Piece, int N, class T, class Index>
__device__ void gather_rows(Lane lane, const T* table, const Index* index, T* out, char*) {
  using Word = Vector<Piece, N>;
  const auto own = E::of(lane);
  for (auto e = own.begin + threadIdx.x; e < own.end; e += kThreads) {
    const int64_t row = index[e / WORDS];
    Word word;
    for (Piece& piece : word.at) piece = Piece(~Piece(0));
    if (row >= 0 && row < ROWS) word = reinterpret_cast<const Word*>(table)[row * WORDS + int64_t(e % WORDS)];
    reinterpret_cast<Word*>(out)[e] = word;
  }
}

/// The block's rows of the result: it looks through the indices kThreads at a time, lists those that are its
/// own in order, and adds their values one after the other, a thread a column.
template <int64_t ROWS, int64_t WIDTH, int64_t COUNT, class T, class Index>
__device__ void scatter_add_rows(Lane lane, const T* values, const Index* index, T* out, char*) {
  const Range rows = rows_of<ROWS>(lane);
  int* list = reinterpret_cast<int*>(lane.shared);  // [kThreads], then the number found by each warp
  int* found = list + kThreads;
  for (int64_t i = rows.begin * WIDTH + threadIdx.x; i < rows.end * WIDTH; i += kThreads) out[i] = T(0);
  const int warp = threadIdx.x / 32;
  for (int64_t first = 0; first < COUNT; first += kThreads) {
    const int64_t own = first + threadIdx.x, wanted = own < COUNT ? int64_t(index[own]) : -1;
    const bool mine = wanted >= rows.begin && wanted < rows.end;
    const unsigned votes = __ballot_sync(0xffffffffu, mine);
    if (threadIdx.x % 32 == 0) found[warp] = __popc(votes);
    __syncthreads();
    int before = 0, total = 0;
    for (int w = 0; w < kWarps; ++w) {
      before += w < warp ? found[w] : 0;
      total += found[w];
    }
    if (mine) list[before + __popc(votes & ((1u << threadIdx.x % 32) - 1))] = threadIdx.x;
    __syncthreads();
    for (int k = 0; k < total; ++k) {
      const int64_t b = first + list[k], row = index[b];
      for (int64_t column = threadIdx.x; column < WIDTH; column += kThreads)
        out[row * WIDTH + column] = T(out[row * WIDTH + column] + values[b * WIDTH + column]);
    }
    __syncthreads();
  }
}

template <class E, int64_t N, class T>
__device__ void take(Lane lane, const T* x, const int64_t* position, T* out, char*) {
  const auto own = E::of(lane);
  const int64_t start = *position;
  for (auto i = own.begin + threadIdx.x; i < own.end; i += kThreads)
    out[i] = x[((start + int64_t(i)) % N + N) % N];
}
