// Convolutions made in strips of rows. Strip s of a sample has ROWS rows of its own, from s * ROWS on; it makes G::OH
// rows, the first of them FIRST (0 or less) from its own. Its part of x has G::H rows, of which row h begins to read at
// s * X_STEP + X_FIRST + h * G::SH; a strip of strips has a part of its own, others read the sample.
#pragma once
#include "conv2d_samples.cuh"

template <int STRIPS_, int ROWS_, int FIRST_, bool WHOLE_, int X_STEP_, int X_FIRST_>
struct Strips {
  static constexpr int STRIPS = STRIPS_, ROWS = ROWS_, FIRST = FIRST_, X_STEP = X_STEP_, X_FIRST = X_FIRST_;
  static constexpr bool WHOLE = WHOLE_;
};

/// One of all strips.
template <class G, class S, bool RELU>
struct Strip {
  int64_t number;
  int strip;
  __device__ explicit Strip(int64_t n) : number(n), strip(n % S::STRIPS) {}

  template <class X>
  __device__ const X* part(const X* x) const {
    return x + (S::WHOLE ? number / S::STRIPS : number) * (G::CI * G::H * G::W);
  }
  __device__ int first_row() const { return strip * S::X_STEP + S::X_FIRST; }
  /// What row h of the strip has for a finished sum.
  template <class T>
  __device__ T made(int h, T sum) const {
    const int row = strip * S::ROWS + S::FIRST + h;
    return (RELU && sum < T(0)) || row < 0 || row >= S::STRIPS * S::ROWS ? T(0) : sum;
  }
  __device__ static bool is_own(int h) { return h + S::FIRST >= 0 && h + S::FIRST < S::ROWS; }
  /// Of a channel's own rows in the result of whole samples.
  __device__ int64_t own_rows(int channel) const {
    return ((number / S::STRIPS * G::CO + channel) * S::STRIPS + strip) * (S::ROWS * G::OW);
  }
};

/// As load_padded_sample(), HP rows from `first` on.
template <class G, class Tile, int ROW, int PLANE, class X, class Program>
__device__ void load_padded_rows(const X* x, int first, uint32_t* xs, Program program) {
  constexpr unsigned V = largest_power(G::W), vectors = Tile::words / 4;
  constexpr bool cut = G::W + G::PW > Tile::WP;
  staged<vectors, 1>([](int e) { return e; },
                     [&](int, int e) { reinterpret_cast<Vector<uint32_t, 4>*>(xs)[e] = {}; });
  __syncthreads();
  auto row_of = [&](unsigned e) { return int(e / (G::W / V) % Tile::HP); };
  auto channel_of = [&](unsigned e) { return int(e / (G::W / V * Tile::HP)); };
  auto exists = [&](unsigned e) { return first + row_of(e) >= 0 && first + row_of(e) < G::H; };
  staged<G::CI * Tile::HP * G::W / V, 4>(
      [&](unsigned e) {
        if (!exists(e)) return Vector<X, V>{};
        const int at = (channel_of(e) * G::H + first + row_of(e)) * int(G::W / V) + int(e % (G::W / V));
        return reinterpret_cast<const Vector<X, V>*>(x)[at];
      },
      [&](unsigned e, const Vector<X, V>& value) {
        if (!exists(e)) return;
        const int w = e % (G::W / V) * V + G::PW;
        uint32_t* to = xs + channel_of(e) * PLANE + row_of(e) * ROW;
#pragma unroll
        for (int v = 0; v < int(V); ++v)
          if (!cut || w + v < Tile::WP) to[Tile::column(w + v)] = to_tf32(program(value.at[v]));
      });
}

/// Results are whole samples, and where KEPT the strips. Shared memory: that of the sample, SCRATCH bytes, and behind it the
/// strip where it is no result.
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, int SCRATCH, class S, bool BIAS, bool RELU, bool KEPT,
          class X, class Program>
__device__ void conv2d_strips_tensor(Lane lane, const X* x, const float* weight, const float* bias, float* y, float* strips,
                                     Program program) {
  constexpr int V = largest_power(G::OW), row_vectors = G::OW / V, own_vectors = S::ROWS * row_vectors;
  const Strip<G, S, RELU> strip(lane.chunk);
  float* made = KEPT ? strips + lane.chunk * (G::CO * G::OH * G::OW) : reinterpret_cast<float*>(lane.shared + SCRATCH);
  conv2d_tensor_sample<G, RUN, ROW, PLANE, NB, SPLIT, Forward<G>, BIAS>(
      lane.shared, weight, bias,
      [&](uint32_t* xs) {
        load_padded_rows<G, SampleTile<G, RUN, ROW, PLANE>, ROW, PLANE>(strip.part(x), strip.first_row(), xs, program);
      },
      [&](int channel, int h, int w, float sum) { made[(channel * G::OH + h) * G::OW + w] = strip.made(h, sum); });
  __syncthreads();
  staged<G::CO * own_vectors, 4>(
      [&](int e) {
        const int row = e / own_vectors * G::OH - S::FIRST;
        return reinterpret_cast<const Vector<float, V>*>(made)[row * row_vectors + e % own_vectors];
      },
      [&](int e, const Vector<float, V>& value) {
        reinterpret_cast<Vector<float, V>*>(y + strip.own_rows(e / own_vectors))[e % own_vectors] = value;
      });
}

/// A thread a pixel, the threads of all blocks one after the other.
template <class T, class G, class S, bool BIAS, bool RELU, bool KEPT, class X, class Program>
__device__ void conv2d_strips_plain(Lane lane, const X* x, const T* weight, const T* bias, T* y, T* strips, Program program) {
  constexpr int64_t pixels = int64_t(G::CO) * G::OH * G::OW;
  const int64_t e = lane.chunk * kThreads + threadIdx.x;
  if (e >= G::BATCH * pixels) return;
  const Strip<G, S, RELU> strip(e / pixels);
  const int w = e % G::OW, h = e / G::OW % G::OH, channel = e / (G::OW * G::OH) % G::CO;
  const X* part = strip.part(x);
  T total = BIAS ? bias[channel] : T(0);
  for (int ci = 0; ci < G::CI; ++ci)
    for (int a = 0; a < G::KH; ++a)
      for (int b = 0; b < G::KW; ++b) {
        const int row = strip.first_row() + h * G::SH + a * G::DH, column = w * G::SW - G::PW + b * G::DW;
        if (row < 0 || row >= G::H || column < 0 || column >= G::W) continue;
        total = fused_multiply_add(program(part[(ci * G::H + row) * G::W + column]),
                                   weight[((channel * G::CI + ci) * G::KH + a) * G::KW + b], total);
      }
  const T value = strip.made(h, total);
  if (KEPT) strips[e] = value;
  if (strip.is_own(h)) y[strip.own_rows(channel) + (h + S::FIRST) * G::OW + w] = value;
}
