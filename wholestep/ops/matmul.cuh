// c [M, N] = op(a) [M, K] op(b) [K, N] + bias. Two forms: one row of c a block, for samples that pass through
// small layers, and tiles of c. Every element of the result is summed over k in an order fixed by the sizes.
#pragma once
#include "tensor_core.cuh"

/// What the third operand of a product or convolution is: none, a bias of every column or channel, or as large as the result,
/// which is 0 where that is not above 0: the mask of a ReLU.
constexpr int kNoThird = 0, kBias = 1, kMask = 2;

template <int THIRD, class T>
__device__ T masked(T value, const T* mask, int64_t at) {
  return THIRD == kMask && !(mask[at] > T(0)) ? T(0) : value;
}

/// Element `at` of the result, in column n.
template <class T, int THIRD, bool RELU>
__device__ T matmul_epilogue(T value, const T* third, int64_t n, int64_t at) {
  if (THIRD == kBias) value += third[n];
  value = masked<THIRD>(value, third, at);
  return RELU && value < T(0) ? T(0) : value;
}

/// What is left to do behind a product that the library made in c [..., CHANNELS, PIXELS]; a bias is one of every channel.
template <class T, int64_t ELEMENTS, int64_t CHANNELS, int64_t PIXELS, int THIRD, bool RELU>
__device__ void finish_product(Lane lane, const T*, const T*, const T* third, T* c, char*) {
  constexpr int64_t V = largest_power(ELEMENTS), vectors = ELEMENTS / V;
#pragma unroll
  for (int round = 0; round < 2; ++round) {
    const int64_t v = (lane.chunk * 2 + round) * kThreads + threadIdx.x;
    if (v >= vectors) return;
    auto& values = reinterpret_cast<Vector<T, V>*>(c)[v];
#pragma unroll
    for (int64_t i = 0; i < V; ++i) {
      const int64_t at = v * V + i;
      values.at[i] = matmul_epilogue<T, THIRD, RELU>(values.at[i], third, at / PIXELS % CHANNELS, at);
    }
  }
}
template <class T, int64_t ELEMENTS, int64_t CHANNELS, int64_t PIXELS, int THIRD, bool RELU>
__device__ void finish_product(Lane lane, const T* a, const T* b, T* c, char* workspace) {
  finish_product<T, ELEMENTS, CHANNELS, PIXELS, THIRD, RELU>(lane, a, b, nullptr, c, workspace);
}

/// One row, op(b) = b^T with b [N, K]: a warp a dot product, U at a time. A slice of 32 vectors of the sum is on its way while
/// the one before is added.
template <class T, int N, int K, int THIRD, bool RELU>
__device__ void dot_row(const T* row, const T* b, const T* third, T* c) {
  constexpr int V = K % 4 == 0 ? 4 : 1, slices = (K + 32 * V - 1) / (32 * V);
  constexpr int per_warp = (N + kWarps - 1) / kWarps, U = per_warp < 8 ? per_warp : 8;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int first = 0; first < N; first += kWarps * U) {
    T sum[U] = {};
    const T* rows[U];  // beyond the last output, the last one again: then no load waits for a branch
#pragma unroll
    for (int u = 0; u < U; ++u) {
      const int n = first + u * kWarps + warp;
      rows[u] = b + int64_t(n < N ? n : N - 1) * K + lane * V;
    }
    Vector<T, V> w[2][U], x[2];
    auto load = [&](int slice, int to) {
      if (slice * 32 * V + lane * V >= K) return;
      x[to] = *reinterpret_cast<const Vector<T, V>*>(row + (slice * 32 + lane) * V);
#pragma unroll
      for (int u = 0; u < U; ++u) w[to][u] = *reinterpret_cast<const Vector<T, V>*>(rows[u] + slice * 32 * V);
    };
    load(0, 0);
#pragma unroll(slices < 8 ? slices : 2)
    for (int slice = 0; slice < slices; ++slice) {
      if (slice + 1 < slices) load(slice + 1, (slice + 1) % 2);
      if (slice * 32 * V + lane * V >= K) continue;
#pragma unroll
      for (int u = 0; u < U; ++u)
#pragma unroll
        for (int v = 0; v < V; ++v) sum[u] = fused_multiply_add(x[slice % 2].at[v], w[slice % 2][u].at[v], sum[u]);
    }
    const T total = warp_sums(sum, lane);
    constexpr int lanes = 32 / power_above(U);
    const int n = first + lane / lanes * kWarps + warp;
    if (lane % lanes == 0 && lane / lanes < U && n < N) c[n] = matmul_epilogue<T, THIRD, RELU>(total, third, n, n);
  }
}

/// One row, op(b) = b [K, N]: threads along n, in groups that share out k; the groups' sums are added in order.
template <class T, int N, int K, int THIRD, bool RELU>
__device__ void axpy_row(const T* row, const T* b, const T* third, T* c, T* partial) {
  constexpr int V = N % 4 == 0 ? 4 : 1, columns = N / V;
  constexpr int groups = columns >= kThreads ? 1 : (kThreads / columns < K ? kThreads / columns : K);
  constexpr int depth = (K + groups - 1) / groups;
  const int group = groups == 1 ? 0 : threadIdx.x / columns;
  for (int column = groups == 1 ? threadIdx.x : threadIdx.x % columns; column < columns; column += kThreads) {
    if (group < groups) {
      Vector<T, V> sum = {};
      const int begin = group * depth;
#pragma unroll(depth < 12 ? depth : 12)
      for (int i = 0; i < depth; ++i) {
        const int k = begin + i;
        if (groups * depth > K && k >= K) break;
        const auto w = *reinterpret_cast<const Vector<T, V>*>(b + int64_t(k) * N + column * V);
#pragma unroll
        for (int v = 0; v < V; ++v) sum.at[v] = fused_multiply_add(row[k], w.at[v], sum.at[v]);
      }
#pragma unroll
      for (int v = 0; v < V; ++v) partial[group * N + column * V + v] = sum.at[v];
    }
  }
  __syncthreads();
  for (int n = threadIdx.x; n < N; n += kThreads) {
    T total = partial[n];
    for (int g = 1; g < groups; ++g) total += partial[g * N + n];
    c[n] = matmul_epilogue<T, THIRD, RELU>(total, third, n, n);
  }
}

/// Shared memory: K + groups * N elements, at most K + max(N, kThreads * 4).
template <class T, int M, int N, int K, bool TB, int THIRD, bool RELU>
__device__ void matmul_rows(Lane lane, const T* a, const T* b, const T* third, T* c, char*) {
  T* copy = reinterpret_cast<T*>(lane.shared);
  T* partial = copy + (K + 3) / 4 * 4;
  const Range rows = rows_of<M>(lane);
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    const T* row = a + m * K;
    if (!__isShared(row)) {
      staged<K>([&](int k) { return a[m * K + k]; }, [&](int k, T value) { copy[k] = value; });
      __syncthreads();
      row = copy;
    }
    const T* of_row = THIRD == kMask ? third + m * N : third;
    if constexpr (TB) dot_row<T, N, K, THIRD, RELU>(row, b, of_row, c + m * N);
    else axpy_row<T, N, K, THIRD, RELU>(row, b, of_row, c + m * N, partial);
    __syncthreads();
  }
}
template <class T, int M, int N, int K, bool TB, int THIRD, bool RELU>
__device__ void matmul_rows(Lane lane, const T* a, const T* b, T* c, char* workspace) {
  matmul_rows<T, M, N, K, TB, THIRD, RELU>(lane, a, b, nullptr, c, workspace);
}

/// A tile [16 X, 8 Y] of c on tensor cores, where c is too small to keep a GPU busy: every warp of the block sums its own
/// slices of k, which come straight into its registers, and the warps' sums are added in order. A slice of 4 V of the sum
/// is permuted, the same for both operands, so that a thread's V elements of a row lie side by side. K is a multiple of 8.
/// Shared memory: kWarps * 128 X Y words.
template <int64_t M, int64_t N, int64_t K, bool TB, int THIRD, bool RELU, int X, int Y>
__device__ void matmul_warps(Lane lane, const float* a, const float* b, const float* third, float* c, char*) {
  constexpr int64_t tiles_n = (N + 8 * Y - 1) / (8 * Y);
  constexpr int V = K % 16 == 0 ? 4 : 2, slices = K / (4 * V), rounds = (slices + kWarps - 1) / kWarps;
  constexpr int most = (X * Y == 1 ? 16 : 8) / V, U = rounds < most ? rounds : most;  // slices in flight
  const int64_t m0 = lane.chunk / tiles_n * (16 * X), n0 = lane.chunk % tiles_n * (8 * Y);
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  auto place = [&](int e) {  // of element e of the tile in c, or nowhere
    const int64_t m = m0 + e / (Y * 128) * 16 + e / 64 % 2 * 8 + g, n = n0 + e / 128 % Y * 8 + t * 2 + e / 32 % 2;
    return m < M && n < N ? m * N + n : -1;
  };
  constexpr int own = (X * Y * 128 + kThreads - 1) / kThreads;
  float thirds[own] = {};  // they are far away, and asked for now
  if constexpr (THIRD != kNoThird)
#pragma unroll
    for (int i = 0; i < own; ++i) {
      const int e = i * kThreads + threadIdx.x;
      if (const int64_t at = place(e); e < X * Y * 128 && at >= 0) thirds[i] = third[THIRD == kBias ? at % N : at];
    }
  float sum[X][Y][4] = {};
  for (int first = warp; first < slices; first += kWarps * U) {
    Vector<float, V> from_a[U][X][2], from_b[U][Y];
#pragma unroll
    for (int u = 0; u < U; ++u) {
      const int slice = first + u * kWarps, k = (slice * 4 + t) * V;
#pragma unroll
      for (int i = 0; i < X * 2; ++i) {
        const int64_t m = m0 + i * 8 + g;
        from_a[u][i / 2][i % 2] = load_if<V>(slice < slices && m < M, a + m * K + k);
      }
#pragma unroll
      for (int j = 0; j < Y; ++j) {
        const int64_t n = n0 + j * 8 + g;
        const bool inside = slice < slices && n < N;
        if (TB) from_b[u][j] = load_if<V>(inside, b + n * K + k);
        else
#pragma unroll
          for (int v = 0; v < V; ++v) from_b[u][j].at[v] = load_if<1>(inside, b + (k + v) * N + n).at[0];
      }
    }
    __syncwarp();  // all loads go out before the first product waits for one
#pragma unroll
    for (int u = 0; u < U; ++u)
#pragma unroll
      for (int v = 0; v < V; v += 2) {
        uint32_t fa[X][4], fb[Y][2];
#pragma unroll
        for (int i = 0; i < X; ++i)
#pragma unroll
          for (int r = 0; r < 4; ++r) fa[i][r] = to_tf32(from_a[u][i][r % 2].at[v + r / 2]);
#pragma unroll
        for (int j = 0; j < Y; ++j)
#pragma unroll
          for (int r = 0; r < 2; ++r) fb[j][r] = to_tf32(from_b[u][j].at[v + r]);
#pragma unroll
        for (int i = 0; i < X; ++i)
#pragma unroll
          for (int j = 0; j < Y; ++j) multiply_tf32(sum[i][j], fa[i], fb[j]);
      }
  }
  float* parts = reinterpret_cast<float*>(lane.shared);  // [kWarps][X][Y][4][32]
#pragma unroll
  for (int i = 0; i < X; ++i)
#pragma unroll
    for (int j = 0; j < Y; ++j)
#pragma unroll
      for (int r = 0; r < 4; ++r)
        parts[((warp * X + i) * Y + j) * 128 + r * 32 + threadIdx.x % 32] = sum[i][j][r];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < own; ++i) {
    const int e = i * kThreads + threadIdx.x;
    if (e >= X * Y * 128) return;
    float total = parts[e];
#pragma unroll
    for (int w = 1; w < (slices < kWarps ? slices : kWarps); ++w) total += parts[w * (X * Y * 128) + e];
    if (const int64_t at = place(e); at >= 0) c[at] = matmul_epilogue<float, THIRD, RELU>(total, thirds, i, i);
  }
}
template <int64_t M, int64_t N, int64_t K, bool TB, int THIRD, bool RELU, int X, int Y>
__device__ void matmul_warps(Lane lane, const float* a, const float* b, float* c, char* workspace) {
  matmul_warps<M, N, K, TB, THIRD, RELU, X, Y>(lane, a, b, nullptr, c, workspace);
}

/// c = a^T b with a [K, M], b [K, N] and a short sum, on tensor cores: each of TILES warps a tile [16, 16] of c, all of it
/// straight from memory. Rows and columns of a tile are permuted, so that a thread's lie side by side: it has rows 2 g and
/// 2 g + 1 and columns 4 t to 4 t + 3. M and N are even. Returns the sum of squares of what the thread makes.
template <int64_t M, int64_t N, int K, int TILES>
__device__ double outer_tiles(Lane lane, const float* a, const float* b, float* c) {
  constexpr int64_t tiles_n = (N + 15) / 16, tiles = (M + 15) / 16 * tiles_n;
  constexpr int slices = (K + 7) / 8;
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int64_t tile = lane.chunk * TILES + warp, m0 = tile / tiles_n * 16 + g * 2, n0 = tile % tiles_n * 16;
  if (warp >= TILES || tile >= tiles) return 0;
  Vector<float, 2> from_a[slices][2], from_b[slices][2];
#pragma unroll
  for (int e = 0; e < slices * 2; ++e) {
    const int k = e * 4 + t;
    from_a[e / 2][e % 2] = load_if<2>((K % 8 == 0 || k < K) && m0 < M, a + k * M + m0);
    from_b[e / 2][e % 2] = load_if<2>((K % 8 == 0 || k < K) && n0 + g * 2 < N, b + k * N + n0 + g * 2);
  }
  float sum[2][4] = {};
#pragma unroll
  for (int s = 0; s < slices; ++s) {
    const uint32_t fa[4] = {to_tf32(from_a[s][0].at[0]), to_tf32(from_a[s][0].at[1]), to_tf32(from_a[s][1].at[0]),
                            to_tf32(from_a[s][1].at[1])};
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const uint32_t fb[2] = {to_tf32(from_b[s][0].at[j]), to_tf32(from_b[s][1].at[j])};
      multiply_tf32(sum[j], fa, fb);
    }
  }
  if (m0 >= M) return 0;
  constexpr int V = N % 4 == 0 ? 4 : 2;
  double squares = 0;
#pragma unroll
  for (int e = 0; e < 8; e += V) {  // of rows m0 and m0 + 1
    const int64_t n = n0 + t * 4 + e % 4;
    Vector<float, V> values;
#pragma unroll
    for (int v = 0; v < V; ++v) values.at[v] = sum[v % 2][(e + v) / 2];
    if (n >= N) continue;
    *reinterpret_cast<Vector<float, V>*>(c + (m0 + e / 4) * N + n) = values;
#pragma unroll
    for (int v = 0; v < V; ++v) squares += double(values.at[v]) * double(values.at[v]);
  }
  return squares;
}
template <int64_t M, int64_t N, int K, int TILES>
__device__ void matmul_outer(Lane lane, const float* a, const float* b, float* c, char*) {
  outer_tiles<M, N, K, TILES>(lane, a, b, c);
}
template <int64_t M, int64_t N, int K, int TILES>
__device__ void matmul_outer(Lane lane, const float* a, const float* b, float* c, double* squares, char*) {
  store_sum(lane, outer_tiles<M, N, K, TILES>(lane, a, b, c), squares + lane.chunk);
}

/// A tile [TM, TN] of c over K / SPLITS of the sum. Thread (i, j) of 16 x 32 has elements i + 16 x, j + 32 y.
/// With SPLITS > 1 the partial sums go to the workspace, each PART elements after the one before. Shared memory:
/// (TM + TN + 2) * TK elements.
template <class T, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int THIRD, bool RELU, int TM, int TN, int TK,
          int SPLITS, int64_t PART = M * N>
__device__ void matmul_tiles(Lane lane, const T* a, const T* b, const T* third, T* c, char* workspace) {
  constexpr int64_t tiles_n = (N + TN - 1) / TN, tiles = (M + TM - 1) / TM * tiles_n;
  constexpr int64_t depth = ((K + SPLITS - 1) / SPLITS + TK - 1) / TK * TK;
  constexpr int X = TM / 16, Y = TN / 32, SA = TM + 1, SB = TN + 1;
  T* as = reinterpret_cast<T*>(lane.shared);  // [TK][SA]
  T* bs = as + TK * SA;                       // [TK][SB]
  const int64_t split = lane.chunk / tiles, tile = lane.chunk % tiles;
  const int64_t m0 = tile / tiles_n * TM, n0 = tile % tiles_n * TN;
  const int64_t begin = split * depth, end = begin + depth < K ? begin + depth : K;
  const int i = threadIdx.x / 32, j = threadIdx.x % 32;
  constexpr int LA = (TM * TK + kThreads - 1) / kThreads, LB = (TN * TK + kThreads - 1) / kThreads;
  T next_a[LA], next_b[LB];
  auto load = [&](int64_t k0) {
#pragma unroll
    for (int l = 0; l < LA; ++l) {
      const int e = threadIdx.x + l * kThreads;
      const int k = TA ? e / TM : e % TK, m = TA ? e % TM : e / TK;
      const bool inside = e < TM * TK && m0 + m < M && k0 + k < end;
      next_a[l] = inside ? a[TA ? (k0 + k) * M + m0 + m : (m0 + m) * K + k0 + k] : T(0);
    }
#pragma unroll
    for (int l = 0; l < LB; ++l) {
      const int e = threadIdx.x + l * kThreads;
      const int k = TB ? e % TK : e / TN, n = TB ? e / TK : e % TN;
      const bool inside = e < TN * TK && n0 + n < N && k0 + k < end;
      next_b[l] = inside ? b[TB ? (n0 + n) * K + k0 + k : (k0 + k) * N + n0 + n] : T(0);
    }
  };
  T sum[X][Y] = {};
  load(begin);
  for (int64_t k0 = begin; k0 < end; k0 += TK) {
#pragma unroll
    for (int l = 0; l < LA; ++l) {
      const int e = threadIdx.x + l * kThreads;
      if (e < TM * TK) as[(TA ? e / TM : e % TK) * SA + (TA ? e % TM : e / TK)] = next_a[l];
    }
#pragma unroll
    for (int l = 0; l < LB; ++l) {
      const int e = threadIdx.x + l * kThreads;
      if (e < TN * TK) bs[(TB ? e % TK : e / TN) * SB + (TB ? e / TK : e % TN)] = next_b[l];
    }
    __syncthreads();
    if (k0 + TK < end) load(k0 + TK);
#pragma unroll
    for (int k = 0; k < TK; ++k) {
      T x[X], y[Y];
#pragma unroll
      for (int r = 0; r < X; ++r) x[r] = as[k * SA + i + 16 * r];
#pragma unroll
      for (int r = 0; r < Y; ++r) y[r] = bs[k * SB + j + 32 * r];
#pragma unroll
      for (int r = 0; r < X; ++r)
#pragma unroll
        for (int s = 0; s < Y; ++s) sum[r][s] = fused_multiply_add(x[r], y[s], sum[r][s]);
    }
    __syncthreads();
  }
  T* out = SPLITS == 1 ? c : reinterpret_cast<T*>(workspace) + split * PART;
#pragma unroll
  for (int r = 0; r < X; ++r)
#pragma unroll
    for (int s = 0; s < Y; ++s) {
      const int64_t m = m0 + i + 16 * r, n = n0 + j + 32 * s;
      if (m < M && n < N)
        out[m * N + n] = SPLITS == 1 ? matmul_epilogue<T, THIRD, RELU>(sum[r][s], third, n, m * N + n) : sum[r][s];
    }
}
template <class T, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int THIRD, bool RELU, int TM, int TN, int TK,
          int SPLITS, int64_t PART = M * N>
__device__ void matmul_tiles(Lane lane, const T* a, const T* b, T* c, char* workspace) {
  matmul_tiles<T, M, N, K, TA, TB, THIRD, RELU, TM, TN, TK, SPLITS, PART>(lane, a, b, nullptr, c, workspace);
}

/// The same on tensor cores. Shared memory: Tile::shared_words words. Returns, with SQUARED, what squares_of_b() says.
template <class Tile, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int THIRD, bool RELU, int SPLITS, int64_t PART,
          bool SQUARED>
__device__ double tensor_tile(Lane lane, const float* a, const float* b, const float* third, float* c, char* workspace) {
  constexpr int64_t tiles_m = (M + Tile::TM - 1) / Tile::TM, tiles_n = (N + Tile::TN - 1) / Tile::TN;
  constexpr int64_t tiles = tiles_m * tiles_n;
  // From the end: what a product before read of the same operand last is still in the cache.
  const int64_t split = lane.chunk / tiles, tile = tiles - 1 - lane.chunk % tiles;
  // Neighbouring blocks share the larger operand.
  const int64_t m0 = (M < N ? tile % tiles_m : tile / tiles_n) * Tile::TM,
                n0 = (M < N ? tile / tiles_m : tile % tiles_n) * Tile::TN;
  using A = MatrixOperand<Tile::TM, M, TA ? M : 1, TA ? 1 : K>;
  using B = MatrixOperand<Tile::TN, N, TB ? 1 : N, TB ? K : 1>;
  A from_a{a, int(m0)};
  B from_b{b, int(n0)};
  TensorProduct<Tile, A, B> product;
  // Blocks that share a sum read it slice by slice side by side, so that memory is asked for neighbours together.
  product.template run<SQUARED>(from_a, from_b, split * Tile::TK, K, SPLITS * Tile::TK, reinterpret_cast<uint32_t*>(lane.shared));
  float* out = SPLITS == 1 ? c : reinterpret_cast<float*>(workspace) + split * PART;
  product.store(reinterpret_cast<uint32_t*>(lane.shared), [&](int m, int n, Vector<float, 4> values) {
    if (m0 + m >= M || n0 + n >= N) return;
    const int64_t at = (m0 + m) * N + n0 + n;
    if (SPLITS == 1 && (THIRD != kNoThird || RELU)) {
      constexpr int V = THIRD == kMask && N % 4 == 0 ? 4 : 1;
      Vector<float, V> of_mask = {};
      if (V == 4) of_mask = *reinterpret_cast<const Vector<float, V>*>(third + at);
#pragma unroll
      for (int v = 0; v < 4; ++v)
        if (V == 4) values.at[v] = masked<kMask>(values.at[v], of_mask.at, v % V);
        else if (n0 + n + v < N) values.at[v] = matmul_epilogue<float, THIRD, RELU>(values.at[v], third, n0 + n + v, at + v);
    }
    store_four<N % 4 == 0>(out + at, values, N - n0 - n);
  });
  return SQUARED ? product.squares_of_b(int(K - split * Tile::TK), SPLITS * Tile::TK) : 0;
}
template <class Tile, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int THIRD, bool RELU, int SPLITS,
          int64_t PART = M * N>
__device__ void matmul_tensor(Lane lane, const float* a, const float* b, const float* third, float* c, char* workspace) {
  tensor_tile<Tile, M, N, K, TA, TB, THIRD, RELU, SPLITS, PART, false>(lane, a, b, third, c, workspace);
}
template <class Tile, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int THIRD, bool RELU, int SPLITS,
          int64_t PART = M * N>
__device__ void matmul_tensor(Lane lane, const float* a, const float* b, float* c, char* workspace) {
  matmul_tensor<Tile, M, N, K, TA, TB, THIRD, RELU, SPLITS, PART>(lane, a, b, nullptr, c, workspace);
}
template <class Tile, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int THIRD, bool RELU, int SPLITS,
          int64_t PART = M * N>
__device__ void matmul_tensor(Lane lane, const float* a, const float* b, const float* third, float* c, double* squares,
                              char* workspace) {
  const double own =
      tensor_tile<Tile, M, N, K, TA, TB, THIRD, RELU, SPLITS, PART, true>(lane, a, b, third, c, workspace);
  __syncthreads();
  store_sum(lane, own, squares + lane.chunk);
}
template <class Tile, int64_t M, int64_t N, int64_t K, bool TA, bool TB, int THIRD, bool RELU, int SPLITS,
          int64_t PART = M * N>
__device__ void matmul_tensor(Lane lane, const float* a, const float* b, float* c, double* squares, char* workspace) {
  matmul_tensor<Tile, M, N, K, TA, TB, THIRD, RELU, SPLITS, PART>(lane, a, b, nullptr, c, squares, workspace);
}

/// Adds up the partial sums [PARTS][N] of the workspace: each of WAYS groups of threads a run of them in order, then the
/// groups in order. Shared memory: kThreads elements.
template <class T, int64_t N, int PARTS, int WAYS, class Store>
__device__ void join_parts(Lane lane, const char* workspace, Store store) {
  constexpr int width = kThreads / WAYS, run = (PARTS + WAYS - 1) / WAYS;
  const int way = threadIdx.x / width;
  const int64_t at = lane.chunk * width + threadIdx.x % width;
  T* sums = reinterpret_cast<T*>(lane.shared);  // [WAYS][width]
  const T* partial = reinterpret_cast<const T*>(workspace) + at;
  T total = T(0);
  if (at < N)
#pragma unroll 16
    for (int i = 0; i < run; ++i)
      if (way * run + i < PARTS) total += partial[(way * run + i) * N];
  sums[threadIdx.x] = total;
  __syncthreads();
  if (way > 0 || at >= N) return;
  for (int w = 1; w < WAYS; ++w) total += sums[w * width + threadIdx.x];
  store(at, total);
}
template <class T, int64_t M, int64_t N, int THIRD, bool RELU, int PARTS, int WAYS>
__device__ void matmul_join(Lane lane, const T*, const T*, const T* third, T* c, char* workspace) {
  join_parts<T, M * N, PARTS, WAYS>(lane, workspace, [&](int64_t at, T total) {
    c[at] = matmul_epilogue<T, THIRD, RELU>(total, third, at % N, at);
  });
}
template <class T, int64_t M, int64_t N, int THIRD, bool RELU, int PARTS, int WAYS>
__device__ void matmul_join(Lane lane, const T* a, const T* b, T* c, char* workspace) {
  matmul_join<T, M, N, THIRD, RELU, PARTS, WAYS>(lane, a, b, nullptr, c, workspace);
}
