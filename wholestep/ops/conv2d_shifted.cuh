// Convolutions of stride 1, and their gradients by the input, on tensor cores, in TF32. The pixels that a tile reads lie in
// shared memory one after another, row by row with the padding, each with its channels side by side. Output o of that
// numbering reads pixel o + row * pitch + column for a tap, so the operand of a tap is the same rows of shared memory, some
// further on.
#pragma once
#include "conv2d.cuh"
#include "warpgroup.cuh"

/// A tile is groups of 64 outputs: of one row each where rows hold 64, 128 or 256, else as they are numbered.
template <class G>
struct ShiftedOutputs {
  static constexpr int groups = kThreads / 128, pitch = G::OW + G::KW - 1, last = G::OH * pitch - (G::KW - 1);
  static constexpr int row_groups = G::OW % 64 == 0 && groups % (G::OW / 64) == 0 ? G::OW / 64 : 0;
  static constexpr int step = row_groups > 0 ? groups / row_groups * pitch : groups * 64;  // from tile to tile
  static constexpr int tiles = (last + step - 1) / step;                                   // of a sample
  __device__ static constexpr int first_of(int group) {
    return row_groups > 0 ? group / row_groups * pitch + group % row_groups * 64 : group * 64;
  }
  static constexpr int window = step - (row_groups > 0 ? G::KW - 1 : 0) + (G::KH - 1) * pitch + G::KW - 1;
};

/// A block has PER tiles and all N >= CO output channels; the weight stays in shared memory. K input channels of a tile at
/// a time go through one of two windows: a window is filled, from registers, while the other is multiplied. Returns, with
/// SQUARED, the sum of squares of what the thread makes.
template <class G, int K, int N, int PER, bool TURNED, int THIRD, bool RELU, bool SQUARED>
__device__ double shifted_outputs(Lane lane, const float* x, const float* weight, const float* third, float* y) {
  using Rows = SwizzledRows<K>;
  constexpr int taps = G::KH * G::KW, slices = (G::CI + K - 1) / K;
  using Outputs = ShiftedOutputs<G>;
  constexpr int pitch = Outputs::pitch, window = Outputs::window, tiles = G::BATCH * Outputs::tiles;
  constexpr int window_bytes = (window * Rows::bytes + 1023) / 1024 * 1024;
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0), group = warp / 4;
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  char* const windows = lane.shared + (-__cvta_generic_to_shared(lane.shared) & 1023);
  char* const weights = windows + 2 * window_bytes;  // [taps][slices][N], rows of K

  if (N != G::CO || slices * K != G::CI) {
    for (int at = threadIdx.x * 16; at < taps * slices * N * Rows::bytes; at += kThreads * 16)
      *reinterpret_cast<Vector<uint32_t, 4>*>(weights + at) = {};
    __syncthreads();
  }
  for (int pair = threadIdx.x; pair < G::CO * G::CI; pair += kThreads) {
    constexpr int inner = TURNED ? G::CO : G::CI;
    const int co = TURNED ? pair % inner : pair / inner, ci = TURNED ? pair / inner : pair % inner;
    char* to = weights + Rows::piece(ci / K * N + co, ci % K / 4) + ci % 4 * 4;
    float of_taps[taps];
#pragma unroll
    for (int tap = 0; tap < taps; ++tap) of_taps[tap] = weight[pair * taps + (TURNED ? taps - 1 - tap : tap)];
#pragma unroll
    for (int tap = 0; tap < taps; ++tap)
      *reinterpret_cast<uint32_t*>(to + tap * (slices * N * Rows::bytes)) = to_tf32(of_taps[tap]);
  }

  const int first = int(lane.chunk) * PER;
  const int items = ((first + PER < tiles ? first + PER : tiles) - first) * slices;
  constexpr int pieces = window * Rows::pieces, own = (pieces + kThreads - 1) / kThreads;
  Vector<float, 4> held[own];  // on their way from memory
  auto load = [&](int item) {
    const int tile = first + item / slices, n = tile / Outputs::tiles, o = tile % Outputs::tiles * Outputs::step;
    const float* from = x + (int64_t(n) * G::CI + item % slices * K) * (G::H * G::W);
#pragma unroll
    for (int u = 0; u < own; ++u) {
      const int e = u * kThreads + threadIdx.x, c = e / window * 4, pixel = o + e % window;
      const int row = pixel / pitch - G::PH, column = pixel % pitch - G::PW;
      const bool inside = e < pieces && unsigned(row) < G::H && unsigned(column) < G::W;
#pragma unroll
      for (int v = 0; v < 4; ++v)
        held[u].at[v] = load_if<1>(inside && (slices * K == G::CI || item % slices * K + c + v < G::CI),
                                   from + (c + v) * (G::H * G::W) + row * G::W + column)
                            .at[0];
    }
  };
  auto store = [&](int item) {
    char* to = windows + item % 2 * window_bytes;
#pragma unroll
    for (int u = 0; u < own; ++u) {
      const int e = u * kThreads + threadIdx.x;
      Vector<uint32_t, 4> rounded;
#pragma unroll
      for (int v = 0; v < 4; ++v) rounded.at[v] = to_tf32(held[u].at[v]);
      if (e < pieces) *reinterpret_cast<Vector<uint32_t, 4>*>(to + Rows::piece(e % window, e / window)) = rounded;
    }
    show_to_tensor_cores();
  };

  double squares = 0;
  float sum[N / 8][4];
  load(0);
  store(0);
  if (items > 1) load(1);
  for (int item = 0; item < items; ++item) {
    const int slice = item % slices;
    __syncthreads();
    if (slice == 0)
#pragma unroll
      for (int e = 0; e < N / 2; ++e) {
        const int co = e / 4 * 8 + t * 2 + e % 2;
        sum[e / 4][e % 4] = THIRD == kBias && (N == G::CO || co < G::CO) ? third[co] : 0;
      }
    const char* from = windows + item % 2 * window_bytes;
    auto prepare = [&] {
      if (item + 1 < items) store(item + 1);
      if (item + 2 < items) load(item + 2);
    };
    const uint64_t a = Rows::operand(uint32_t(__cvta_generic_to_shared(from)) + Outputs::first_of(group) * Rows::bytes),
                   b = Rows::operand(uint32_t(__cvta_generic_to_shared(weights)) + slice * N * Rows::bytes);
    keep_in_registers(sum);
    begin_warpgroup_products();
#pragma unroll
    for (int tap = 0; tap < taps; ++tap)
#pragma unroll
      for (int k = 0; k < K; k += 8)
        multiply_warpgroup<N>(sum, a + ((tap / G::KW * pitch + tap % G::KW) * Rows::bytes + k * 4) / 16,
                              b + (tap * slices * N * Rows::bytes + k * 4) / 16);
    end_warpgroup_products();
    prepare();

    // Calls fn(value, its place in y) for the values of the tile that this thread has.
    auto each = [&](auto fn) {
      const int tile = first + item / slices, n = tile / Outputs::tiles;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int output =
            tile % Outputs::tiles * Outputs::step + Outputs::first_of(group) + warp % 4 * 16 + half * 8 + g;
        const int row = output / pitch, column = output % pitch;
        if (row >= G::OH || column >= G::OW) continue;
        const int64_t to = int64_t(n) * (G::CO * G::OH * G::OW) + row * G::OW + column;
#pragma unroll
        for (int e = 0; e < N / 4; ++e)
          if (const int co = e / 2 * 8 + t * 2 + e % 2; N == G::CO || co < G::CO)
            fn(half * (N / 4) + e, to + co * (G::OH * G::OW));
      }
    };
    float of_mask[N / 2];  // on its way while the products are made
    if (THIRD == kMask && slice == slices - 1) each([&](int v, int64_t at) { of_mask[v] = third[at]; });
    wait_for_warpgroup_products();
    if (slice == slices - 1)
      each([&](int v, int64_t at) {
        float value = masked<THIRD>(sum[v % (N / 4) / 2][v / (N / 4) * 2 + v % 2], of_mask, v);
        value = RELU && value < 0 ? 0 : value;
        y[at] = value;
        if (SQUARED) squares += double(value) * double(value);
      });
  }
  return squares;
}
template <class G, int K, int N, int PER, bool TURNED, int THIRD, bool RELU>
__device__ void conv2d_shifted(Lane lane, const float* x, const float* weight, const float* third, float* y, char*) {
  shifted_outputs<G, K, N, PER, TURNED, THIRD, RELU, false>(lane, x, weight, third, y);
}
template <class G, int K, int N, int PER, bool TURNED, int THIRD, bool RELU>
__device__ void conv2d_shifted(Lane lane, const float* x, const float* weight, float* y, char*) {
  shifted_outputs<G, K, N, PER, TURNED, THIRD, RELU, false>(lane, x, weight, nullptr, y);
}
template <class G, int K, int N, int PER, bool TURNED, int THIRD, bool RELU>
__device__ void conv2d_shifted(Lane lane, const float* x, const float* weight, const float* third, float* y,
                               double* squares, char*) {
  const double own = shifted_outputs<G, K, N, PER, TURNED, THIRD, RELU, true>(lane, x, weight, third, y);
  __syncthreads();  // nobody reads a window any more
  store_sum(lane, own, squares + lane.chunk);
}
template <class G, int K, int N, int PER, bool TURNED, int THIRD, bool RELU>
__device__ void conv2d_shifted(Lane lane, const float* x, const float* weight, float* y, double* squares, char*) {
  conv2d_shifted<G, K, N, PER, TURNED, THIRD, RELU>(lane, x, weight, nullptr, y, squares, nullptr);
}

/// Where a block is in its rows of the output: `ahead` rows of the input are still to come before those of `row` are there.
template <class G>
struct RowsToCome {
  int row, ahead;
  __device__ RowsToCome next() const {
    if (ahead > 0) return {row, ahead - 1};
    return {row + 1, (row + 1) % G::OH == 0 ? G::KH - 1 : 0};
  }
};

/// Part of the pixels' sum of dw [CO, CI, KH, KW], and with BIAS of db [CO], the sum of the gradient, to the workspace as
/// [parts] of [CO][CI KH KW] and [CO], or to dw and db if there is one: of PER rows of the output. A row of the gradient lies in shared memory beside the rows of the input that it meets, each as
/// often as the kernel has columns, one pixel further on every time, so that all products read pixels side by side. A
/// warpgroup multiplies for each row of the kernel. C >= CI.
template <class G, int C, int PER, bool BIAS>
__device__ void conv2d_dw_shifted_parts(Lane lane, const float* x, const float* gradient, float* dw, float* db,
                                        char* workspace) {
  using Rows = SwizzledRows<32>;
  constexpr int taps = G::KH * G::KW, J = G::CI * taps, N = G::KW * C, M = 64;
  constexpr int parts_of_row = (G::OW + 31) / 32, pieces = parts_of_row * 8, slots = G::KH + 1;
  constexpr int x_part = N * Rows::bytes, x_bytes = parts_of_row * x_part;
  constexpr int g_part = M * Rows::bytes, g_bytes = parts_of_row * g_part;
  static_assert(G::KH * 128 <= kThreads && G::CO <= M && G::CI <= C && G::OW % 4 == 0);
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0), g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  char* const xs = lane.shared + (-__cvta_generic_to_shared(lane.shared) & 1023);  // [slots][parts_of_row][KW][C]
  char* const gs = xs + slots * x_bytes;                                           // [2][parts_of_row][M]
  if (G::CO != M || G::CI != C) {
    for (int at = threadIdx.x * 16; at < slots * x_bytes + 2 * g_bytes; at += kThreads * 16)
      *reinterpret_cast<Vector<uint32_t, 4>*>(xs + at) = {};
    __syncthreads();
  }

  // A thread's pieces, on their way from memory.
  constexpr int own_x = (G::CI * pieces + kThreads - 1) / kThreads, own_g = (G::CO * pieces + kThreads - 1) / kThreads;
  float of_x[own_x][3 + G::KW], of_bias[own_g] = {};
  Vector<float, 4> of_g[own_g];
  auto load = [&](RowsToCome<G> at) {
    const int n = at.row / G::OH, y = at.row % G::OH, row = y + G::KH - 1 - at.ahead - G::PH;
    const float* from = x + int64_t(n) * (G::CI * G::H * G::W) + row * G::W;
#pragma unroll
    for (int u = 0; u < own_x; ++u) {
      const int e = u * kThreads + threadIdx.x, ci = e / pieces, first = e % pieces * 4;
      const bool inside = e < G::CI * pieces && unsigned(row) < G::H && first < G::OW;
#pragma unroll
      for (int v = 0; v < 3 + G::KW; ++v) {
        const int column = first + v - G::PW;
        of_x[u][v] = load_if<1>(inside && unsigned(column) < G::W, from + ci * (G::H * G::W) + column).at[0];
      }
    }
    if (at.ahead == 0) {
      const float* from_g = gradient + int64_t(n) * (G::CO * G::OH * G::OW) + y * G::OW;
#pragma unroll
      for (int u = 0; u < own_g; ++u) {
        const int e = u * kThreads + threadIdx.x, co = e / pieces, first = e % pieces * 4;
        of_g[u] = load_if<4>(e < G::CO * pieces && first < G::OW, from_g + co * (G::OH * G::OW) + first);
      }
    }
  };
  auto store = [&](RowsToCome<G> at, int step) {
    auto rounded = [](const float* four) {
      Vector<uint32_t, 4> words;
#pragma unroll
      for (int v = 0; v < 4; ++v) words.at[v] = to_tf32(four[v]);
      return words;
    };
    char* const to_x = xs + step % slots * x_bytes;
#pragma unroll
    for (int u = 0; u < own_x; ++u) {
      const int e = u * kThreads + threadIdx.x, ci = e / pieces, piece = e % pieces;
      if (e < G::CI * pieces)
#pragma unroll
        for (int kx = 0; kx < G::KW; ++kx)
          *reinterpret_cast<Vector<uint32_t, 4>*>(to_x + piece / 8 * x_part + Rows::piece(kx * C + ci, piece % 8)) =
              rounded(of_x[u] + kx);
    }
    if (at.ahead == 0) {
      char* const to_g = gs + step % 2 * g_bytes;
#pragma unroll
      for (int u = 0; u < own_g; ++u) {
        const int e = u * kThreads + threadIdx.x, co = e / pieces, piece = e % pieces;
        if (e < G::CO * pieces)
          *reinterpret_cast<Vector<uint32_t, 4>*>(to_g + piece / 8 * g_part + Rows::piece(co, piece % 8)) =
              rounded(of_g[u].at);
        if (BIAS) of_bias[u] += (of_g[u].at[0] + of_g[u].at[1]) + (of_g[u].at[2] + of_g[u].at[3]);
      }
    }
    show_to_tensor_cores();
  };

  const int first = int(lane.chunk) * PER, ky = warp / 4;
  const int last = first + PER < G::BATCH * G::OH ? first + PER : G::BATCH * G::OH;
  const bool multiplies = ky < G::KH;
  float sum[N / 8][4] = {};
  RowsToCome<G> at = {first, G::KH - 1}, next = at.next();
  load(at);
  store(at, 0);
  if (next.row < last) load(next);
  for (int step = 0; at.row < last; ++step) {
    const RowsToCome<G> later = next.next();
    __syncthreads();
    auto prepare = [&] {
      if (next.row < last) store(next, step + 1);
      if (later.row < last) load(later);
    };
    const char* from_g = gs + step % 2 * g_bytes;
    const char* from_x = xs + (step + slots - (G::KH - 1 - ky)) % slots * x_bytes;
    if (at.ahead > 0 || !multiplies) {
      prepare();
    } else {
      const uint64_t a = Rows::operand(uint32_t(__cvta_generic_to_shared(from_g))),
                     b = Rows::operand(uint32_t(__cvta_generic_to_shared(from_x)));
      keep_in_registers(sum);
      begin_warpgroup_products();
#pragma unroll
      for (int part = 0; part < parts_of_row; ++part)
#pragma unroll
        for (int k = 0; k < 32; k += 8)
          multiply_warpgroup<N>(sum, a + (part * g_part + k * 4) / 16, b + (part * x_part + k * 4) / 16);
      end_warpgroup_products();
      prepare();
      wait_for_warpgroup_products();
    }
    at = next;
    next = later;
  }

  // Through shared memory, so that neighbours are stored together.
  float* const total = reinterpret_cast<float*>(xs);  // [CO][J]
  float* const of_pieces = total + G::CO * J;          // [CO][pieces]
  __syncthreads();
  if (BIAS)
#pragma unroll
    for (int u = 0; u < own_g; ++u)
      if (const int e = u * kThreads + threadIdx.x; e < G::CO * pieces) of_pieces[e] = of_bias[u];
  if (multiplies)
#pragma unroll
    for (int e = 0; e < N / 2; ++e) {
      const int co = warp % 4 * 16 + e % 4 / 2 * 8 + g, n = e / 4 * 8 + t * 2 + e % 2;
      if (co < G::CO && n % C < G::CI) total[co * J + n % C * taps + ky * G::KW + n / C] = sum[e / 4][e % 4];
    }
  __syncthreads();
  constexpr bool one = G::BATCH * G::OH <= PER;
  float* own_part = reinterpret_cast<float*>(workspace) + int64_t(lane.chunk) * (G::CO * J + (BIAS ? G::CO : 0));
  float* to = one ? dw : own_part;
  for (int e = threadIdx.x; e < G::CO * J; e += kThreads) to[e] = total[e];
  if (BIAS && threadIdx.x < G::CO) {
    float of_channel = 0;
#pragma unroll
    for (int piece = 0; piece < pieces; ++piece) of_channel += of_pieces[threadIdx.x * pieces + piece];
    (one ? db : own_part + G::CO * J)[threadIdx.x] = of_channel;
  }
}
template <class G, int C, int PER>
__device__ void conv2d_dw_shifted(Lane lane, const float* x, const float* gradient, float* dw, char* workspace) {
  conv2d_dw_shifted_parts<G, C, PER, false>(lane, x, gradient, dw, nullptr, workspace);
}
template <class G, int C, int PER>
__device__ void conv2d_dw_shifted(Lane lane, const float* x, const float* gradient, float* dw, float* db, char* workspace) {
  conv2d_dw_shifted_parts<G, C, PER, true>(lane, x, gradient, dw, db, workspace);
}
