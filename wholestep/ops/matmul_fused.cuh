// Products of few terms that are used where they are made. A block keeps the operands of its tile in shared memory, for
// the whole sum, and every warp makes parts of it alone. A sum of squares and a program see the same numbers: an element
// is summed over k in the same order, whatever the part.
#pragma once
#include "reduce.cuh"
#include "tensor_core.cuh"

/// Elements (k, first .. first + WIDTH) of an operand with EXTENT of them for every k, stored [K, EXTENT], or [EXTENT, K]
/// where ALONG_SUM; in shared memory [KP][S], zeros beyond either end. Rows lie so that a warp reads from 32 banks. THREADS
/// threads share the work.
template <class T, bool TF32, int THREADS, int WIDTH, int64_t EXTENT, int64_t K, bool ALONG_SUM>
struct Panel {
  static constexpr int KP = (K + 7) / 8 * 8, S = WIDTH + 8, words = KP * S;
  static constexpr int V = !ALONG_SUM && EXTENT % 4 == 0 ? 4 : 1, across = WIDTH / V;
  static constexpr int L = (KP * across + THREADS - 1) / THREADS;
  Vector<T, V> next[L > 0 ? L : 1];
  __device__ void fetch(const T* from, int64_t first, int thread) {
#pragma unroll
    for (int l = 0; l < L; ++l) {
      const int e = thread + l * THREADS;
      const int64_t k = e / across, i = first + e % across * V;
      const bool inside = k < K && i < EXTENT;
      next[l] = *reinterpret_cast<const Vector<T, V>*>(inside ? from + (ALONG_SUM ? i * K + k : k * EXTENT + i) : from);
      if (!inside) next[l] = {};
    }
  }
  __device__ void place(T* shared, int thread) const {
#pragma unroll
    for (int l = 0; l < L; ++l) {
      const int e = thread + l * THREADS;
      if (e >= KP * across) break;
      Vector<T, V> values = next[l];
      if constexpr (TF32)
#pragma unroll
        for (int v = 0; v < V; ++v) values.at[v] = __uint_as_float(to_tf32(values.at[v]));
      *reinterpret_cast<Vector<T, V>*>(shared + e / across * S + e % across * V) = values;
    }
  }
};

/// How a warp multiplies: use(m, n, value) for the elements of the part [8 F, 16 X] at (row, column) of a tile.
struct OnTensorCores {
  using Type = float;
  static constexpr bool kTf32 = true;
  /// The sums are those of the transposed product, so that 16 neighbours along n meet 8 along m.
  template <int F, int X, class A, class B, class Use>
  __device__ static void each(const float* a, const float* b, int row, int column, Use use) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float sum[F][X][4] = {};
    const float* from_a = a + t * A::S + row + g;
    const float* from_b = b + t * B::S + column + g;
#pragma unroll
    for (int k = 0; k < A::KP; k += 8) {
      uint32_t fb[X][4];
#pragma unroll
      for (int x = 0; x < X; ++x)
#pragma unroll
        for (int r = 0; r < 4; ++r) fb[x][r] = __float_as_uint(from_b[(k + r / 2 * 4) * B::S + x * 16 + r % 2 * 8]);
#pragma unroll
      for (int f = 0; f < F; ++f) {
        const uint32_t fa[2] = {__float_as_uint(from_a[k * A::S + f * 8]), __float_as_uint(from_a[(k + 4) * A::S + f * 8])};
#pragma unroll
        for (int x = 0; x < X; ++x) multiply_tf32(sum[f][x], fb[x], fa);
      }
    }
#pragma unroll
    for (int f = 0; f < F; ++f)
#pragma unroll
      for (int e = 0; e < X * 4; ++e)
        use(row + f * 8 + t * 2 + e % 2, column + e / 2 * 8 + g, sum[f][e / 4][e % 4]);
  }
};
template <class T>
struct Exactly {
  using Type = T;
  static constexpr bool kTf32 = false;
  template <int F, int X, class A, class B, class Use>
  __device__ static void each(const T* a, const T* b, int row, int column, Use use) {
    static_assert(X == 2);
    row += threadIdx.x % 32 / 8;
    column += threadIdx.x % 8 * 4;
    Vector<T, 4> sum[2 * F] = {};
#pragma unroll 4
    for (int k = 0; k < A::KP; ++k) {
      const auto y = *reinterpret_cast<const Vector<T, 4>*>(b + k * B::S + column);
#pragma unroll
      for (int f = 0; f < 2 * F; ++f)
#pragma unroll
        for (int v = 0; v < 4; ++v)
          sum[f].at[v] = fused_multiply_add(a[k * A::S + row + f * 4], y.at[v], sum[f].at[v]);
    }
#pragma unroll
    for (int f = 0; f < 2 * F; ++f)
#pragma unroll
      for (int v = 0; v < 4; ++v) use(row + f * 4, column + v, sum[f].at[v]);
  }
};

/// A tile [TM, TN] of op(a) op(b) [M, N]; neighbouring blocks share the columns of b.
template <class How, int TM, int TN, int64_t M, int64_t N, int64_t K, bool TA, bool TB>
struct ProductTile {
  using T = typename How::Type;
  using A = Panel<T, How::kTf32, kThreads, TM, M, K, !TA>;
  using B = Panel<T, How::kTf32, kThreads, TN, N, K, TB>;
  static constexpr int64_t kDown = (M + TM - 1) / TM;
  static constexpr int kRows = TM, kColumns = TN, kAcross = TN / 32, S = TN + 4;
  int64_t m0, n0;

  __device__ explicit ProductTile(int64_t tile) : m0(tile % kDown * TM), n0(tile / kDown * TN) {}
  __device__ bool holds(int m, int n) const { return m0 + m < M && n0 + n < N; }
  /// Leaves the tile in shared memory, [TM][S].
  __device__ const T* run(const T* a, const T* b, char* shared) const {
    T *as = reinterpret_cast<T*>(shared), *bs = as + A::words, *tile = bs + B::words;
    A from_a;
    B from_b;
    from_a.fetch(a, m0, threadIdx.x);
    from_b.fetch(b, n0, threadIdx.x);
    from_a.place(as, threadIdx.x);
    from_b.place(bs, threadIdx.x);
    __syncthreads();
    for (int part = threadIdx.x / 32; part < TM / 8 * kAcross; part += kWarps)
      How::template each<1, 2, A, B>(as, bs, part / kAcross * 8, part % kAcross * 32,
                                  [&](int m, int n, T value) { tile[m * S + n] = value; });
    __syncthreads();
    return tile;
  }
};

/// The sum of squares of a tile, to the workspace.
template <class Product, class T>
__device__ void matmul_squares(Lane lane, const T* a, const T* b, double*, char* workspace) {
  const Product product(lane.chunk);
  const T* tile = product.run(a, b, lane.shared);
  double total = 0;
  for (int e = threadIdx.x; e < Product::kRows * Product::kColumns; e += kThreads) {
    const int m = e / Product::kColumns, n = e % Product::kColumns;
    if (product.holds(m, n)) total += double(tile[m * Product::S + n]) * double(tile[m * Product::S + n]);
  }
  __syncthreads();
  store_sum(lane, total, reinterpret_cast<double*>(workspace) + lane.chunk);
}

/// The same on tensor cores, of SIDE rows by STEPS times 16 columns a warp. A warp copies its columns of b itself, the next
/// ones while it multiplies, and waits for no other.
template <int SIDE, int64_t STEPS, int64_t M, int64_t N, int64_t K, bool TA, bool TB>
__device__ void matmul_squares_tensor(Lane lane, const float* a, const float* b, double*, char* workspace) {
  using A = Panel<float, true, kThreads, SIDE, M, K, !TA>;
  using B = Panel<float, true, 32, 16, N, K, TB>;
  constexpr int64_t down = (M + SIDE - 1) / SIDE, step = 16 * kWarps;
  const int64_t m0 = lane.chunk % down * SIDE, block_begin = lane.chunk / down * STEPS * step,
                end = block_begin + STEPS * step < N ? block_begin + STEPS * step : N;
  float *as = reinterpret_cast<float*>(lane.shared), *bs = as + A::words + threadIdx.x / 32 * B::words;
  const int64_t begin = block_begin + threadIdx.x / 32 * 16;
  A from_a;
  B from_b;
  from_a.fetch(a, m0, threadIdx.x);
  from_b.fetch(b, begin, threadIdx.x % 32);
  from_a.place(as, threadIdx.x);
  __syncthreads();
  double total = 0;
  for (int64_t n0 = begin; n0 < end; n0 += step) {
    from_b.place(bs, threadIdx.x % 32);
    __syncwarp();
    if (n0 + step < end) from_b.fetch(b, n0 + step, threadIdx.x % 32);
#pragma unroll 1
    for (int row = 0; row < SIDE; row += 64)
      OnTensorCores::each<8, 1, A, B>(as, bs, row, 0, [&](int m, int n, float value) {
        const double x = m0 + m < M && n0 + n < N ? double(value) : 0.0;
        total += x * x;
      });
    __syncwarp();
  }
  __syncthreads();
  store_sum(lane, total, reinterpret_cast<double*>(workspace) + lane.chunk);
}

template <int64_t COUNT, class T>
__device__ void matmul_squares_join(Lane lane, const T*, const T*, double* y, char* workspace) {
  const double* sums = reinterpret_cast<const double*>(workspace);
  double total = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < COUNT; i += kThreads) total += sums[i];
  store_sum(lane, total, y);
}
