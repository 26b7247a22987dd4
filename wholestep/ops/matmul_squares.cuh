// The sum of squares of op(a) op(b) [M, N] from the Gram matrices of both. What a warp reads of eight rows of K is the
// left and the right operand of an f64 product on tensor cores alike, so it goes from memory to registers.
#pragma once

/// Columns of K elements, element k of column c at k * EXTENT + c, or c * K + k where ALONG_SUM.
template <class T, int64_t EXTENT, int64_t K, bool ALONG_SUM>
struct Columns {
  static constexpr int V = !ALONG_SUM && EXTENT % (16 / int(sizeof(T))) == 0 ? 16 / int(sizeof(T)) : 1;
  static constexpr int64_t kSteps = (EXTENT + 4 * V - 1) / (4 * V);  // a warp's, of four lanes side by side
  using Values = Vector<T, V>;
  /// Those of row k and of lane t of a step, zeros beyond either end.
  __device__ static Values load(const T* x, int64_t step, int k, int t) {
    const int64_t c = (step * 4 + t) * V;
    const bool inside = k < K && c < EXTENT;
    const int64_t at = inside ? (ALONG_SUM ? c * K + k : k * EXTENT + c) : 0;
    Values values = *reinterpret_cast<const Values*>(x + at);
    if (!inside) values = {};
    return values;
  }
};

/// How the Gram matrix [K, K] is cut: into tiles [8, 8], of which squares of S tiles a side are made together. Of the
/// tiles (r, c), r <= c, at tile_index(), a thread of a warp has two elements.
template <int64_t K>
struct GramTiles {
  static constexpr int kSide = int((K + 7) / 8), S = kSide <= 4 ? kSide : 3, kSquares = (kSide + S - 1) / S;
  static constexpr int kPairs = kSquares * (kSquares + 1) / 2, kTiles = kSide * (kSide + 1) / 2;
  __device__ static int tile_index(int r, int c) { return c * (c + 1) / 2 + r; }
  /// The row and the column of entry `index` of such a triangle.
  __device__ static void place(int index, int& r, int& c) {
    for (c = 0; tile_index(0, c + 1) <= index;) ++c;
    r = index - tile_index(0, c);
  }
};

/// Steps [first, last) of the columns of x for the square of tiles at (row, column), to `gram`.
template <class Tiles, class From, bool DIAGONAL, class T>
__device__ void gram_square(const T* x, int row, int column, int64_t first, int64_t last, double* gram, char* shared) {
  constexpr int S = Tiles::S, kLoads = DIAGONAL ? S : 2 * S, kSums = DIAGONAL ? S * (S + 1) / 2 : S * S;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  double sum[kSums][2] = {};
  typename From::Values next[kLoads];
  auto load = [&](int64_t step) {
#pragma unroll
    for (int l = 0; l < kLoads; ++l)
      next[l] = From::load(x, step, ((l < S ? row : column - S) + l) * 8 + lane / 4, lane % 4);
  };
  if (first + warp < last) load(first + warp);
  for (int64_t step = first + warp; step < last; step += kWarps) {
    typename From::Values now[kLoads];
#pragma unroll
    for (int l = 0; l < kLoads; ++l) now[l] = next[l];
    if (step + kWarps < last) load(step + kWarps);
#pragma unroll
    for (int v = 0; v < From::V; ++v) {
      double values[kLoads];
#pragma unroll
      for (int l = 0; l < kLoads; ++l) values[l] = double(now[l].at[v]);
#pragma unroll
      for (int c = 0, s = 0; c < S; ++c)
#pragma unroll
        for (int r = 0; r < (DIAGONAL ? c + 1 : S); ++r, ++s)
          multiply_f64(sum[s], values[r], values[DIAGONAL ? c : S + c]);
    }
  }
  // The warps' sums, by halves.
  double* all = reinterpret_cast<double*>(shared);
#pragma unroll 1
  for (int half = kWarps / 2; half > 0; half /= 2) {
    double* place = all + warp % half * (kSums * 64) + lane;
    if (warp >= half && warp < 2 * half)
#pragma unroll
      for (int e = 0; e < 2 * kSums; ++e) place[e * 32] = sum[e / 2][e % 2];
    __syncthreads();
    if (warp < half)
#pragma unroll
      for (int e = 0; e < 2 * kSums; ++e) sum[e / 2][e % 2] += place[e * 32];
    __syncthreads();
  }
  if (warp > 0) return;
#pragma unroll
  for (int c = 0, s = 0; c < S; ++c)
#pragma unroll
    for (int r = 0; r < (DIAGONAL ? c + 1 : S); ++r, ++s)
      if (column + c < Tiles::kSide)
#pragma unroll
        for (int e = 0; e < 2; ++e) gram[(Tiles::tile_index(row + r, column + c) * 2 + e) * 32 + lane] = sum[s][e];
}

/// kMostReach of matmul_fused.h, and its square.
template <class T>
struct MostReach {
  static constexpr double value = 0x1p127, squared = 0x1p254;
};
template <>
struct MostReach<double> {
  static constexpr double value = 0x1.fffffffffffffp1023, squared = value;
};
__device__ inline double infinity() { return __longlong_as_double(0x7ff0000000000000ll); }

/// The Gram matrices of the blocks' columns, PER_BLOCK steps each, those of a first; then, by tiles, a part of the sum
/// and of the reach (matmul_fused.h), to the front of the workspace; then the sum.
template <class T, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int64_t PER_BLOCK>
struct MatmulSquares {
  using Tiles = GramTiles<K>;
  using A = Columns<T, M, K, !TA>;
  using B = Columns<T, N, K, TB>;
  static constexpr int64_t kOfA = (A::kSteps + PER_BLOCK - 1) / PER_BLOCK,
                           kBlocks = kOfA + (B::kSteps + PER_BLOCK - 1) / PER_BLOCK;
  __device__ static double* gram(char* workspace, int64_t block) {
    return reinterpret_cast<double*>(workspace) + 2 * Tiles::kTiles + block * (Tiles::kTiles * 64);
  }

  template <class From>
  __device__ static void of_columns(Lane lane, const T* x, int64_t block, double* to) {
    const int64_t first = block * PER_BLOCK, last = first + PER_BLOCK < From::kSteps ? first + PER_BLOCK : From::kSteps;
    int row, column;
    Tiles::place(int(lane.chunk % Tiles::kPairs), row, column);
    if (row == column) gram_square<Tiles, From, true>(x, row * Tiles::S, row * Tiles::S, first, last, to, lane.shared);
    else if constexpr (Tiles::kPairs > 1)
      gram_square<Tiles, From, false>(x, row * Tiles::S, column * Tiles::S, first, last, to, lane.shared);
  }
  __device__ static void grams(Lane lane, const T* a, const T* b, char* workspace) {
    const int64_t block = lane.chunk / Tiles::kPairs;
    double* to = gram(workspace, block);
    if (block < kOfA) of_columns<A>(lane, a, block, to);
    else of_columns<B>(lane, b, block - kOfA, to);
  }

  /// Eight threads share the blocks of an element.
  __device__ static void join(Lane lane, char* workspace) {
    constexpr int kShares = kThreads / 64, kRounds = int((kBlocks + kShares - 1) / kShares);
    const int element = threadIdx.x % 64, share = threadIdx.x / 64, tile = int(lane.chunk);
    double g = 0, h = 0;
#pragma unroll
    for (int round = 0; round < kRounds; ++round) {
      const int64_t block = round * kShares + share;
      const double part = block < kBlocks ? gram(workspace, block)[tile * 64 + element] : 0.0;
      g += block < kOfA ? part : 0.0;
      h += block < kOfA ? 0.0 : part;
    }
    double* all = reinterpret_cast<double*>(lane.shared);
    all[threadIdx.x] = g;
    all[kThreads + threadIdx.x] = h;
    __syncthreads();
    int row, column;
    Tiles::place(tile, row, column);
    double total = 0, reach = 0;
    if (share == 0) {
      for (int other = 1; other < kShares; ++other)
        g += all[other * 64 + element], h += all[kThreads + other * 64 + element];
      total = (row == column ? 1 : 2) * (g * h);
      const int in_tile = element % 32 / 4 * 8 + element % 4 * 2 + element / 32;
      if (row == column && in_tile % 9 == 0)
        reach = g < MostReach<T>::squared && h < MostReach<T>::squared ? sqrt(g * h) : infinity();
    }
    __syncthreads();
    total = block_sum(total, lane.shared);
    reach = block_sum(reach, lane.shared);
    double* to = reinterpret_cast<double*>(workspace) + 2 * tile;
    if (threadIdx.x == 0) to[0] = total, to[1] = reach;
  }
};

template <class Squares, class T>
__device__ void matmul_squares_grams(Lane lane, const T* a, const T* b, double*, char* workspace) {
  Squares::grams(lane, a, b, workspace);
}
template <class Squares, class T>
__device__ void matmul_squares_join(Lane lane, const T*, const T*, double*, char* workspace) {
  Squares::join(lane, workspace);
}
template <int TILES, class T>
__device__ void matmul_squares_result(Lane lane, const T*, const T*, double* y, char* workspace) {
  const double* from = reinterpret_cast<const double*>(workspace) + 2 * threadIdx.x;
  const bool has = int(threadIdx.x) < TILES;
  const double total = block_sum(has ? from[0] : 0.0, lane.shared), reach = block_sum(has ? from[1] : 0.0, lane.shared);
  if (threadIdx.x == 0) *y = !(reach < MostReach<T>::value) ? infinity() : total < 0 ? 0.0 : total;
}
