// Convolutions as products of matrices that the library computes: pixels unfolded into columns [CI KH KW, OH OW], and the
// columns of a gradient folded back.
#pragma once
#include "conv2d.cuh"

__device__ inline char* last_of(char* workspace) { return workspace; }
template <class First, class... More>
__device__ char* last_of(First, More... more) {
  return last_of(more...);
}

/// Calls fn(v) for a block's share of v < COUNT.
template <int64_t COUNT, class Fn>
__device__ void share_out(Lane lane, Fn fn) {
#pragma unroll
  for (int round = 0; round < 4; ++round)
    if (const int64_t v = (lane.chunk * 4 + round) * kThreads + threadIdx.x; v < COUNT) fn(v);
}

/// Samples FIRST, FIRST + 1, ... of x as columns [COUNT][CI KH KW][OH OW], TURNED as [CI KH KW][COUNT][OH OW], at TO of the
/// workspace.
template <class T, class G, int FIRST, int COUNT, bool TURNED, int64_t TO, class... More>
__device__ void unfold(Lane lane, const T* x, More... more) {
  constexpr int K = G::CI * G::KH * G::KW, S = G::OH * G::OW, V = largest_power(G::OW);
  auto* columns = reinterpret_cast<Vector<T, V>*>(last_of(more...) + TO);
  share_out<int64_t(K) * COUNT * S / V>(lane, [&](int64_t v) {
    const int pixel = v % (S / V) * V, row = v / (S / V);
    const int k = TURNED ? row / COUNT : row % K, n = FIRST + (TURNED ? row % COUNT : row / K);
    const int h = pixel / G::OW * G::SH - G::PH + k / G::KW % G::KH * G::DH;
    const int w = pixel % G::OW * G::SW - G::PW + k % G::KW * G::DW;
    const T* from = x + ((int64_t(n) * G::CI + k / (G::KH * G::KW)) * G::H + h) * G::W + w;
    Vector<T, V> values;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const int column = w + i * G::SW;
      values.at[i] = h >= 0 && h < G::H && column >= 0 && column < G::W ? from[i * G::SW] : T(0);
    }
    columns[v] = values;
  });
}

/// Samples FIRST, FIRST + 1, ... of the gradient g [N][CO][OH OW] as [CO][COUNT][OH OW] at TO of the workspace.
template <class T, class G, int FIRST, int COUNT, int64_t TO>
__device__ void turn(Lane lane, const T* g, char* workspace) {
  constexpr int S = G::OH * G::OW, V = largest_power(S);
  auto* to = reinterpret_cast<Vector<T, V>*>(workspace + TO);
  share_out<int64_t(COUNT) * G::CO * S / V>(lane, [&](int64_t v) {
    const int in_row = v % (S / V), row = v / (S / V), n = FIRST + row % COUNT;
    to[v] = reinterpret_cast<const Vector<T, V>*>(g)[(int64_t(n) * G::CO + row / COUNT) * (S / V) + in_row];
  });
}
/// In conv2d_dx g is the first operand, in conv2d_dw the second.
template <class T, class G, int FIRST, int COUNT, int64_t TO, class... More>
__device__ void turn_first(Lane lane, const T* g, More... more) {
  turn<T, G, FIRST, COUNT, TO>(lane, g, last_of(more...));
}
template <class T, class G, int FIRST, int COUNT, int64_t TO, class... More>
__device__ void turn_second(Lane lane, const T*, const T* g, More... more) {
  turn<T, G, FIRST, COUNT, TO>(lane, g, last_of(more...));
}

/// Samples FIRST, FIRST + 1, ... of y [N][CO][OH OW] from [CO][COUNT][OH OW] at FROM of the workspace.
template <class T, class G, int FIRST, int COUNT, int64_t FROM, int THIRD, bool RELU>
__device__ void turn_back(Lane lane, const T*, const T*, const T* third, T* y, char* workspace) {
  constexpr int S = G::OH * G::OW, V = largest_power(S);
  const auto* from = reinterpret_cast<const Vector<T, V>*>(workspace + FROM);
  share_out<int64_t(COUNT) * G::CO * S / V>(lane, [&](int64_t v) {
    const int in_row = v % (S / V), row = v / (S / V), channel = row % G::CO, n = row / G::CO;
    Vector<T, V> values = from[(int64_t(channel) * COUNT + n) * (S / V) + in_row];
    const int64_t at = int64_t(FIRST) * G::CO * (S / V) + v;
#pragma unroll
    for (int i = 0; i < V; ++i)
      values.at[i] = matmul_epilogue<T, THIRD, RELU>(values.at[i], third, channel, at * V + i);
    reinterpret_cast<Vector<T, V>*>(y)[at] = values;
  });
}
template <class T, class G, int FIRST, int COUNT, int64_t FROM, int THIRD, bool RELU>
__device__ void turn_back(Lane lane, const T* x, const T* weight, T* y, char* workspace) {
  turn_back<T, G, FIRST, COUNT, FROM, THIRD, RELU>(lane, x, weight, nullptr, y, workspace);
}

/// dx of samples FIRST, FIRST + 1, ... from their columns, as unfold() lays them, at FROM of the workspace: of every pixel
/// the sum over the taps that met it, in order.
template <class T, class G, int FIRST, int COUNT, bool TURNED, int64_t FROM, int THIRD>
__device__ void fold(Lane lane, const T*, const T*, const T* third, T* dx, char* workspace) {
  constexpr int K = G::CI * G::KH * G::KW, S = G::OH * G::OW;
  constexpr int64_t of_row = TURNED ? int64_t(COUNT) * S : S, of_sample = TURNED ? S : int64_t(K) * S;
  share_out<int64_t(COUNT) * G::CI * G::H * G::W>(lane, [&](int64_t v) {
    const int w = v % G::W + G::PW, h = v / G::W % G::H + G::PH, row = v / (G::H * G::W);
    const T* columns = reinterpret_cast<const T*>(workspace + FROM) + row / G::CI * of_sample +
                       row % G::CI * (G::KH * G::KW) * of_row;
    T total = 0;
#pragma unroll
    for (int kh = 0; kh < G::KH; ++kh) {
      const int of_h = h - kh * G::DH, oh = of_h / G::SH;
      if (of_h < 0 || of_h % G::SH != 0 || oh >= G::OH) continue;
#pragma unroll
      for (int kw = 0; kw < G::KW; ++kw) {
        const int of_w = w - kw * G::DW, ow = of_w / G::SW;
        if (of_w >= 0 && of_w % G::SW == 0 && ow < G::OW)
          total += columns[(kh * G::KW + kw) * of_row + oh * G::OW + ow];
      }
    }
    const int64_t at = int64_t(FIRST) * G::CI * G::H * G::W + v;
    dx[at] = masked<THIRD>(total, third, at);
  });
}
template <class T, class G, int FIRST, int COUNT, bool TURNED, int64_t FROM, int THIRD>
__device__ void fold(Lane lane, const T* g, const T* weight, T* dx, char* workspace) {
  fold<T, G, FIRST, COUNT, TURNED, FROM, THIRD>(lane, g, weight, nullptr, dx, workspace);
}

/// Of every sample the sum of g over pixels, behind the sample's WEIGHTS parts of dw in the workspace; a warp a channel.
template <class T, class G, int WEIGHTS>
__device__ void bias_parts(Lane lane, const T*, const T* g, T*, T*, char* workspace) {
  constexpr int S = G::OH * G::OW;
  const int row = lane.chunk * kWarps + threadIdx.x / 32, n = row / G::CO, channel = row % G::CO;
  if (n >= G::BATCH) return;
  T total = 0;
  for (int pixel = threadIdx.x % 32; pixel < S; pixel += 32) total += g[int64_t(row) * S + pixel];
  total = warp_sum(total);
  if (threadIdx.x % 32 == 0)
    reinterpret_cast<T*>(workspace)[int64_t(n) * (WEIGHTS + G::CO) + WEIGHTS + channel] = total;
}
