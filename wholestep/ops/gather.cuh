// Rows by index: gather_rows moves words, scatter_add_rows adds in the order of the indices, take wraps
// around.
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
/// own in order, and adds their values one after the other, a thread a column, each row in a register for as
/// long as it comes again.
template <int64_t ROWS, int64_t WIDTH, int64_t COUNT, class T, class Index>
__device__ void scatter_add_rows(Lane lane, const T* values, const Index* index, T* out, char*) {
  constexpr int kAhead = 8;
  const Range rows = rows_of<ROWS>(lane);
  int* list = reinterpret_cast<int*>(lane.shared);  // [kThreads] places, [kThreads] rows, [kWarps] found
  int *row_list = list + kThreads, *found = row_list + kThreads;
  for (int64_t i = rows.begin * WIDTH + threadIdx.x; i < rows.end * WIDTH; i += kThreads) out[i] = T(0);
  const int warp = threadIdx.x / 32;
  for (int64_t first = 0; first < COUNT; first += kThreads) {
    const int64_t own = first + threadIdx.x, wanted = own < COUNT ? int64_t(index[own]) : -1;
    const bool mine = wanted >= rows.begin && wanted < rows.end;
    const unsigned votes = __ballot_sync(0xffffffffu, mine);
    if (threadIdx.x % 32 == 0) found[warp] = __popc(votes);
    __syncthreads();
    int before = __popc(votes & ((1u << threadIdx.x % 32) - 1)), count = 0;
    for (int w = 0; w < kWarps; ++w) {
      before += w < warp ? found[w] : 0;
      count += found[w];
    }
    if (mine) list[before] = threadIdx.x, row_list[before] = int(wanted - rows.begin);
    __syncthreads();
    for (int64_t column = threadIdx.x; column < WIDTH && count > 0; column += kThreads) {
      T* to = out + rows.begin * WIDTH + column;
      int row = row_list[0];
      T total = to[row * WIDTH];
      for (int k = 0; k < count; k += kAhead) {
        T held[kAhead];
#pragma unroll
        for (int j = 0; j < kAhead; ++j)
          if (k + j < count) held[j] = values[(first + list[k + j]) * WIDTH + column];
#pragma unroll
        for (int j = 0; j < kAhead; ++j) {
          if (k + j >= count) break;
          if (row_list[k + j] != row) {
            to[row * WIDTH] = total;
            row = row_list[k + j];
            total = to[row * WIDTH];
          }
          total = T(total + held[j]);
        }
      }
      to[row * WIDTH] = total;
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
