// Convolutions made in strips of rows. Strip s of a sample has ROWS rows of its own, from s * ROWS on; it makes G::OH
// rows, the first of them FIRST (0 or less) from its own. Its part of x has G::H rows, of which row h begins to read at
// s * X_STEP + X_FIRST + h * G::SH; a strip of strips has a part of its own, others read the sample.
#pragma once
#include "conv2d_samples.cuh"

template <int STRIPS_, int ROWS_, int FIRST_, bool WHOLE_, bool KEPT_, int X_STEP_, int X_FIRST_>
struct Strips {
  static constexpr int STRIPS = STRIPS_, ROWS = ROWS_, FIRST = FIRST_, X_STEP = X_STEP_, X_FIRST = X_FIRST_;
  static constexpr bool WHOLE = WHOLE_, KEPT = KEPT_;
};

/// One of all strips, and where what it makes goes.
template <class G, class S, bool RELU, class T>
struct Strip {
  int64_t number;
  int strip;
  T *y, *strips;
  __device__ Strip(int64_t n, T* result, T* kept) : number(n), strip(n % S::STRIPS), y(result), strips(kept) {}

  __device__ int64_t sample() const { return number / S::STRIPS; }
  template <class X>
  __device__ const X* part(const X* x) const { return x + (S::WHOLE ? sample() : number) * (G::CI * G::H * G::W); }
  __device__ int first_row() const { return strip * S::X_STEP + S::X_FIRST; }
  __device__ void put(int channel, int h, int w, T value) const {
    const int own = h + S::FIRST, row = strip * S::ROWS + own;
    if (RELU && value < T(0)) value = T(0);
    if (S::KEPT)
      strips[((number * G::CO + channel) * G::OH + h) * G::OW + w] = row >= 0 && row < S::STRIPS * S::ROWS ? value : T(0);
    if (own >= 0 && own < S::ROWS)
      y[((sample() * G::CO + channel) * (S::STRIPS * S::ROWS) + row) * G::OW + w] = value;
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

template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, class S, bool BIAS, bool RELU, class X, class Program>
__device__ void conv2d_strips_tensor(Lane lane, const X* x, const float* weight, const float* bias, float* y, float* strips,
                                     Program program) {
  const Strip<G, S, RELU, float> strip(lane.chunk, y, strips);
  conv2d_tensor_sample<G, RUN, ROW, PLANE, NB, SPLIT, Forward<G>, BIAS>(
      lane.shared, weight, bias,
      [&](uint32_t* xs) {
        load_padded_rows<G, SampleTile<G, RUN, ROW, PLANE>, ROW, PLANE>(strip.part(x), strip.first_row(), xs, program);
      },
      [&](int channel, int h, int w, float value) { strip.put(channel, h, w, value); });
}

/// A thread a pixel, the threads of all blocks one after the other.
template <class T, class G, class S, bool BIAS, bool RELU, class X, class Program>
__device__ void conv2d_strips_plain(Lane lane, const X* x, const T* weight, const T* bias, T* y, T* strips, Program program) {
  constexpr int64_t pixels = int64_t(G::CO) * G::OH * G::OW;
  const int64_t e = lane.chunk * kThreads + threadIdx.x;
  if (e >= G::BATCH * pixels) return;
  const Strip<G, S, RELU, T> strip(e / pixels, y, strips);
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
  strip.put(channel, h, w, total);
}
