// Products of few terms that are used where they are made. A block keeps the operands of its tile in shared memory, for
// the whole sum, and every warp makes parts of it alone.
#pragma once
#include "tensor_core.cuh"

/// Elements (k, first .. first + WIDTH) of an operand with EXTENT of them for every k, stored [K, EXTENT], or [EXTENT, K]
/// where ALONG_SUM; in shared memory [KP][S], zeros beyond either end. Rows lie so that a warp reads from 32 banks.
template <class T, bool TF32, int WIDTH, int64_t EXTENT, int64_t K, bool ALONG_SUM>
struct Panel {
  static constexpr int KP = (K + 7) / 8 * 8, S = WIDTH + 8, words = KP * S;
  static constexpr int V = !ALONG_SUM && EXTENT % 4 == 0 ? 4 : 1, across = WIDTH / V;
  static constexpr int L = (KP * across + kThreads - 1) / kThreads;
  Vector<T, V> next[L > 0 ? L : 1];
  __device__ void fetch(const T* from, int64_t first) {
#pragma unroll
    for (int l = 0; l < L; ++l) {
      const int e = threadIdx.x + l * kThreads;
      const int64_t k = e / across, i = first + e % across * V;
      const bool inside = k < K && i < EXTENT;
      next[l] = *reinterpret_cast<const Vector<T, V>*>(inside ? from + (ALONG_SUM ? i * K + k : k * EXTENT + i) : from);
      if (!inside) next[l] = {};
    }
  }
  __device__ void place(T* shared) const {
#pragma unroll
    for (int l = 0; l < L; ++l) {
      const int e = threadIdx.x + l * kThreads;
      if (e >= KP * across) break;
      Vector<T, V> values = next[l];
      if constexpr (TF32)
#pragma unroll
        for (int v = 0; v < V; ++v) values.at[v] = __uint_as_float(to_tf32(values.at[v]));
      *reinterpret_cast<Vector<T, V>*>(shared + e / across * S + e % across * V) = values;
    }
  }
};

/// How a warp multiplies: use(m, n, value) for the elements of the part [8, 32] at (row, column) of a tile.
struct OnTensorCores {
  using Type = float;
  static constexpr bool kTf32 = true;
  /// The sums are those of the transposed product, so that 16 neighbours along n meet 8 along m.
  template <class A, class B, class Use>
  __device__ static void each(const float* a, const float* b, int row, int column, Use use) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float sum[2][4] = {};
    const float* from_a = a + t * A::S + row + g;
    const float* from_b = b + t * B::S + column + g;
#pragma unroll
    for (int k = 0; k < A::KP; k += 8) {
      const uint32_t fa[2] = {__float_as_uint(from_a[k * A::S]), __float_as_uint(from_a[(k + 4) * A::S])};
#pragma unroll
      for (int x = 0; x < 2; ++x) {
        uint32_t fb[4];
#pragma unroll
        for (int r = 0; r < 4; ++r) fb[r] = __float_as_uint(from_b[(k + r / 2 * 4) * B::S + x * 16 + r % 2 * 8]);
        multiply_tf32(sum[x], fb, fa);
      }
    }
#pragma unroll
    for (int e = 0; e < 8; ++e) use(row + t * 2 + e % 2, column + e / 2 * 8 + g, sum[e / 4][e % 4]);
  }
};
template <class T>
struct Exactly {
  using Type = T;
  static constexpr bool kTf32 = false;
  template <class A, class B, class Use>
  __device__ static void each(const T* a, const T* b, int row, int column, Use use) {
    row += threadIdx.x % 32 / 8;
    column += threadIdx.x % 8 * 4;
    Vector<T, 4> sum[2] = {};
#pragma unroll 4
    for (int k = 0; k < A::KP; ++k) {
      const auto y = *reinterpret_cast<const Vector<T, 4>*>(b + k * B::S + column);
#pragma unroll
      for (int f = 0; f < 2; ++f)
#pragma unroll
        for (int v = 0; v < 4; ++v)
          sum[f].at[v] = fused_multiply_add(a[k * A::S + row + f * 4], y.at[v], sum[f].at[v]);
    }
#pragma unroll
    for (int f = 0; f < 2; ++f)
#pragma unroll
      for (int v = 0; v < 4; ++v) use(row + f * 4, column + v, sum[f].at[v]);
  }
};

/// A tile [TM, TN] of op(a) op(b) [M, N]; neighbouring blocks share the columns of b.
template <class How, int TM, int TN, int64_t M, int64_t N, int64_t K, bool TA, bool TB>
struct ProductTile {
  using T = typename How::Type;
  using A = Panel<T, How::kTf32, TM, M, K, !TA>;
  using B = Panel<T, How::kTf32, TN, N, K, TB>;
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
    from_a.fetch(a, m0);
    from_b.fetch(b, n0);
    from_a.place(as);
    from_b.place(bs);
    __syncthreads();
    for (int part = threadIdx.x / 32; part < TM / 8 * kAcross; part += kWarps)
      How::template each<A, B>(as, bs, part / kAcross * 8, part % kAcross * 32,
                               [&](int m, int n, T value) { tile[m * S + n] = value; });
    __syncthreads();
    return tile;
  }
};
