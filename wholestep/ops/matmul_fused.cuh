// Products of few terms that are used where they are made. A block keeps the operands of its tile in shared memory, for
// the whole sum, and every warp makes parts of it alone.
#pragma once
#include "tensor_core.cuh"

/// Elements (k, first .. first + WIDTH) of an operand with EXTENT of them for every k, stored [K, EXTENT], or [EXTENT, K]
/// where ALONG_SUM; in shared memory [KP][S], zeros beyond either end. Rows lie so that a warp reads from 32 banks. Where
/// TURNED, it does so along k, too: of eight rows the second four have each four elements in the place of the next four.
template <class T, bool TF32, int WIDTH, int64_t EXTENT, int64_t K, bool ALONG_SUM, bool TURNED = false>
struct Panel {
  static constexpr int KP = (K + 7) / 8 * 8, S = WIDTH + 8, words = KP * S;
  static constexpr int V = !ALONG_SUM && EXTENT % 4 == 0 ? 4 : 1, across = WIDTH / V;
  static constexpr int L = (KP * across + kThreads - 1) / kThreads;
  Vector<T, V> next[L > 0 ? L : 1];
  /// How far from its place in the first four rows of eight element i lies in the second four.
  __device__ static int turn(int i) { return TURNED ? 4 - (i & 4) * 2 : 0; }
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
    place(shared, [](T value) {
      if constexpr (TF32) return __uint_as_float(to_tf32(value));
      else return value;
    });
  }
  template <class Round>
  __device__ void place(T* shared, Round round) const {
#pragma unroll
    for (int l = 0; l < L; ++l) {
      const int e = threadIdx.x + l * kThreads, k = e / across, i = e % across * V;
      if (e >= KP * across) break;
      Vector<T, V> values = next[l];
#pragma unroll
      for (int v = 0; v < V; ++v) values.at[v] = round(values.at[v]);
      *reinterpret_cast<Vector<T, V>*>(shared + k * S + i + (k & 4 ? turn(i) : 0)) = values;
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
      const uint32_t fa[2] = {__float_as_uint(from_a[k * A::S]), __float_as_uint(from_a[(k + 4) * A::S + A::turn(g)])};
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

/// As to_tf32(), with every NaN below 0 as a whole number: x is above 0 where that number is above kNoMore.
constexpr int kNoMore = 0x1000;
__device__ inline uint32_t marked_tf32(float x) { return x == x ? to_tf32(x) : 0xffffffffu; }

/// Columns n0 to n0 + TN of a^T b [M, N], in tiles [TM, TN] from the first rows on, each beside the same tile of W and of as
/// many more matrices [M, N] as make MATRICES, which comes while the tile before is used. What a tile of W adds to
/// dx = a W [K, N] is added at once, so that W is read once for both. The panels of a and b stay in shared memory: a [K, M],
/// b [K, N]. N is a multiple of TN and M of TM.
template <int TM, int TN, int M, int N, int K, int MATRICES>
struct ProductColumns {
  using A = Panel<float, true, M, M, K, false, true>;
  using B = Panel<float, true, TN, N, K, false>;
  /// How far apart rows lie: of the product's tile, and of those of matrices.
  static constexpr int SP = TN + 4, S = TN + 8;
  static constexpr int kTiles = M / TM, kRounds = TM * TN / (kThreads * 4);
  /// A warp has X parts [16, 8] of dx side by side, of its kDown one above the other. Rows beyond K add up what lies behind
  /// the panel of a.
  static constexpr int kDown = power_above((K + 15) / 16), kAcross = kWarps / kDown, X = TN / 8 / kAcross;
  static constexpr int a_words = kDown * 16 * A::S, tile_words = TM * S;
  static_assert(M % TM == 0 && N % TN == 0 && TN == X * 8 * kAcross && TM * TN == kRounds * kThreads * 4);
  static_assert(kDown * 16 * SP <= TM * SP + MATRICES * tile_words, "dx goes through what the tiles leave");
  unsigned n0;
  float *as, *bs, *product, *matrices;
  float sum[X][4] = {};

  __device__ explicit ProductColumns(Lane lane)
      : n0(lane.chunk * TN),
        as(reinterpret_cast<float*>(lane.shared)),
        bs(as + a_words),
        product(bs + B::words),
        matrices(product + TM * SP) {}

  /// Tile `tile` of the matrices, on its way to shared memory, [MATRICES][TM][S].
  template <class... From>
  __device__ void bring(int tile, From... from) const {
#pragma unroll
    for (int u = 0; u < kRounds; ++u) {
      const unsigned at = (u * kThreads + threadIdx.x) * 4, m = at / TN, n = at % TN;
      const unsigned i = (tile * TM + m) * N + n0 + n;
      float* to = matrices + m * S + n;
      ((copy_unit<16>(shared_address(to), global_address(from + i)), to += tile_words), ...);
    }
    end_copies();
  }
  /// The panels, rounded to TF32.
  __device__ void place(const float* a, const float* b) const {
    A from_a;
    B from_b;
    from_a.fetch(a, 0);
    from_b.fetch(b, n0);
    from_a.place(as);
    from_b.place(bs, [](float x) { return __uint_as_float(marked_tf32(x)); });
    __syncthreads();
  }
  /// Leaves the tile of the product in shared memory, [TM][SP], beside those of the matrices.
  __device__ void run(int tile) {
    const float* rows = as + tile * TM;
    for (int part = threadIdx.x / 32; part < TM / 8 * (TN / 32); part += kWarps)
      OnTensorCores::each<A, B>(rows, bs, part / (TN / 32) * 8, part % (TN / 32) * 32,
                                [&](int m, int n, float value) { product[m * SP + n] = value; });
    wait_for_all_copies();
    __syncthreads();
    add_to_dx(rows);
  }
  /// Behind the last tile, which everyone has left: its place is that of dx, [K][SP], on the way out in whole rows.
  template <bool MASKED>
  __device__ void store(float* dx) const {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float* to = product + (warp % kDown * 16 + g) * SP + warp / kDown * (X * 8) + t * 2;
#pragma unroll
    for (int x = 0; x < X; ++x)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        *reinterpret_cast<Vector<float, 2>*>(to + half * 8 * SP + x * 8) = {sum[x][half * 2], sum[x][half * 2 + 1]};
    __syncthreads();
#pragma unroll
    for (int l = 0; l < (K * TN + kThreads * 4 - 1) / (kThreads * 4); ++l) {
      const unsigned e = (l * kThreads + threadIdx.x) * 4, k = e / TN, n = e % TN;
      if (K * TN % (kThreads * 4) != 0 && k >= K) break;
      auto values = *reinterpret_cast<const Vector<float, 4>*>(product + k * SP + n);
      if constexpr (MASKED) {
        const auto mask = *reinterpret_cast<const Vector<int, 4>*>(bs + k * B::S + n);
#pragma unroll
        for (int v = 0; v < 4; ++v) values.at[v] = mask.at[v] > kNoMore ? values.at[v] : 0.0f;
      }
      const unsigned at = k * N + n0 + n;  // one number: where it is added up as an address, one store becomes four
      *reinterpret_cast<Vector<float, 4>*>(dx + at) = values;
    }
  }

 private:
  /// Rows of a by the first tile of the matrices, W's.
  __device__ void add_to_dx(const float* rows) {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const float* low = rows + (warp % kDown * 16 + g) * A::S + t + (g & 4 ? A::turn(t) : 0);  // elements t of eight
    const float* high = low + (g & 4 ? -4 : 4);                                               // and t + 4
    const float* from = matrices + t * S + warp / kDown * (X * 8) + g;
#pragma unroll
    for (int m = 0; m < TM; m += 8) {
      const uint32_t fa[4] = {__float_as_uint(low[m]), __float_as_uint(low[m + 8 * A::S]), __float_as_uint(high[m]),
                              __float_as_uint(high[m + 8 * A::S])};
#pragma unroll
      for (int x = 0; x < X; ++x) {
        const uint32_t fb[2] = {to_tf32(from[m * S + x * 8]), to_tf32(from[(m + 4) * S + x * 8])};
        multiply_tf32(sum[x], fa, fb);
      }
    }
  }
};
