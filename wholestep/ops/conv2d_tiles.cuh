// Convolutions and their gradients on tensor cores, in TF32, a block a tile of pixels: the patch of the input that the
// tile reads lies in shared memory once, some channels at a time, and every tap reads its fragments from there.
#pragma once
#include "conv2d.cuh"
#include "tensor_core.cuh"

/// C columns of R rows of NS samples of the output, and the patch of the input they reach: PR rows of PC words for every
/// channel of a sample. Vectors of V words are inside the input or outside of it as a whole.
template <class G, int NS_, int R_, int C_>
struct ConvPixels {
  static constexpr int NS = NS_, R = R_, C = C_, count = NS * R * C;
  static constexpr int tiles_h = (G::OH + R - 1) / R, tiles_w = (G::OW + C - 1) / C;
  static constexpr int tiles = (G::BATCH + NS - 1) / NS * tiles_h * tiles_w;
  static constexpr int V = largest_power(tiles_w == 1 ? G::W : G::W | C * G::SW);
  static constexpr int left = (V - G::PW % V) % V;
  static constexpr int PR = (R - 1) * G::SH + (G::KH - 1) * G::DH + 1;
  static constexpr int PC = (left + (C - 1) * G::SW + (G::KW - 1) * G::DW + V) / V * V, words = NS * PR * PC;
  // The same for the output: VY neighbouring pixels lie side by side.
  static constexpr int S = G::OH * G::OW, VY = largest_power(tiles_w == 1 ? S | R * C : G::OW | C);
  int n, h, w;  // the first of them

  __device__ explicit ConvPixels(int tile)
      : n(tile / (tiles_h * tiles_w) * NS), h(tile / tiles_w % tiles_h * R), w(tile % tiles_w * C) {}
  /// Where a pixel's first tap lies in the patch; beyond the last pixel, something that may be read.
  __device__ static int patch_offset(int pixel) {
    const int p = pixel < count ? pixel : count - 1;
    return (p / (R * C) * PR + p / C % R * G::SH) * PC + p % C * G::SW + left;
  }
  __device__ static constexpr int tap_offset(int tap) { return tap / G::KW * G::DH * PC + tap % G::KW * G::DW; }
  /// Where a pixel lies in the first sample's channel of the output; negative: nowhere.
  __device__ int output_offset(int p) const {
    const int sample = p / (R * C), y = h + p / C % R, x = w + p % C;
    const bool inside = p < count && n + sample < G::BATCH && y < G::OH && x < G::OW;
    return inside ? sample * (G::CO * S) + y * G::OW + x : -1;
  }
  /// The patch of CHANNELS channels from c0 on, PLANE words apart, on its way to shared memory.
  template <int CHANNELS, int PLANE>
  __device__ void copy_patch(const float* x, int c0, uint32_t* to) const {
    const float* from = x + (int64_t(n) * G::CI + c0) * (G::H * G::W);
    share<CHANNELS * NS * PR, PC / V>([&](int row, int column) {
      const int c = row / (NS * PR), sample = row / PR % NS, py = row % PR;
      const int iy = h * G::SH - G::PH + py, ix = w * G::SW - G::PW - left + column * V;
      const bool inside = unsigned(iy) < G::H && unsigned(ix) < G::W && n + sample < G::BATCH && c0 + c < G::CI;
      const int offset = (sample * G::CI + c) * (G::H * G::W) + iy * G::W + ix;
      copy_async<V>(to + c * PLANE + row % (NS * PR) * PC + column * V, inside ? from + offset : x, inside);
    });
  }
  template <int CHANNELS, int PLANE>
  __device__ static void round_patch(uint32_t* patch) {
    share<CHANNELS * NS * PR, PC / V>([&](int row, int column) {
      round_to_tf32<V>(patch + row / (NS * PR) * PLANE + row % (NS * PR) * PC + column * V);
    });
  }
};

/// The weight of TM output and SC input channels in shared memory, rows as they lie in memory: of an output channel, or
/// TURNED of an input channel and by half a turn, which makes of a convolution of stride 1 the gradient of its input.
template <class G, int TM, int SC, bool TURNED>
struct ConvWeight {
  static constexpr int taps = G::KH * G::KW, length = (TURNED ? TM : SC) * taps, rows = TURNED ? SC : TM;
  static constexpr int pitch = TURNED ? with_rest(length, 8, 16) : with_rest(length, 4, 8), words = rows * pitch;
  static constexpr int kOutput = TURNED ? taps : pitch, kInput = TURNED ? pitch : taps;
  static constexpr int memory_pitch = (TURNED ? G::CO : G::CI) * taps, V = largest_power(memory_pitch);
  __device__ static constexpr int tap_offset(int tap) { return TURNED ? taps - 1 - tap : tap; }
  __device__ static void copy(const float* weight, int co, int ci, uint32_t* to) {
    const float* from = weight + int64_t(TURNED ? ci : co) * memory_pitch + (TURNED ? co : ci) * taps;
    const int outputs = G::CO - co, inputs = G::CI - ci;
    share<rows, length / V>([&](int row, int column) {
      const bool inside = row < (TURNED ? inputs : outputs) && column * V < (TURNED ? outputs : inputs) * taps;
      copy_async<V>(to + row * pitch + column * V, inside ? from + row * memory_pitch + column * V : weight, inside);
    });
  }
  __device__ static void round(uint32_t* weight) {
    share<rows, length / V>([&](int row, int column) { round_to_tf32<V>(weight + row * pitch + column * V); });
  }
};

/// A block has PER tiles of X * 16 * WM output channels and as many pixels as its other warps hold, each Y groups of 8.
/// SC input channels at a time go through one of two halves of shared memory, while the tensor cores work on the other.
template <class G, class Pixels, int X, int Y, int WM, int SC, int PER, bool TURNED, int THIRD, bool RELU>
__device__ void conv2d_tensor(Lane lane, const float* x, const float* weight, const float* third, float* y, char*) {
  constexpr int taps = G::KH * G::KW, TM = X * 16 * WM, slices = (G::CI + SC - 1) / SC;
  constexpr int tiles_m = (G::CO + TM - 1) / TM, tiles = tiles_m * Pixels::tiles;
  constexpr int plane = with_rest(Pixels::words, 8, 16), patch_words = SC * plane;
  using Weight = ConvWeight<G, TM, SC, TURNED>;
  constexpr int stage_words = patch_words + Weight::words;
  static_assert(Pixels::count <= kWarps / WM * Y * 8 && SC % 4 == 0);
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  uint32_t* shared = reinterpret_cast<uint32_t*>(lane.shared);
  const int first = int(lane.chunk) * PER;
  const int items = ((first + PER < tiles ? first + PER : tiles) - first) * slices;
  auto fetch = [&](int item) {
    if (item >= items) return;
    const int tile = first + item / slices, c0 = item % slices * SC;
    uint32_t* to = shared + item % 2 * stage_words;
    Pixels(tile / tiles_m).template copy_patch<SC, plane>(x, c0, to);
    Weight::copy(weight, tile % tiles_m * TM, c0, to + patch_words);
  };

  const int m = warp % WM * (X * 16), p0 = warp / WM * (Y * 8);
  int from_patch[Y];
#pragma unroll
  for (int i = 0; i < Y; ++i) from_patch[i] = t * plane + Pixels::patch_offset(p0 + i * 8 + g);
  const int from_weight = patch_words + (m + g) * Weight::kOutput + t * Weight::kInput;
  float sum[X][Y][4];
  auto round = [&](int item) {
    uint32_t* stage = shared + item % 2 * stage_words;
    wait_for_all_copies();
    Pixels::template round_patch<SC, plane>(stage);
    Weight::round(stage + patch_words);
  };
  fetch(0);
  round(0);
  for (int item = 0; item < items; ++item) {
    const uint32_t* stage = shared + item % 2 * stage_words;
    __syncthreads();
    fetch(item + 1);
    if (item % slices == 0)
#pragma unroll
      for (int e = 0; e < X * Y * 4; ++e) sum[e / (Y * 4)][e / 4 % Y][e % 4] = 0;

    // Four channels of a tap make half a step.
    constexpr int quads = taps * SC / 4;
#pragma unroll
    for (int quad = 0; quad < quads; quad += 2) {
      if (quad == quads / 3 * 2 && item + 1 < items) round(item + 1);  // late, to have arrived
      uint32_t a[X][4];
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int q = quad + r / 2, c = q % (SC / 4) * 4, tap = q / (SC / 4);
#pragma unroll
        for (int i = 0; i < X; ++i)
          a[i][r] = q < quads ? stage[from_weight + (i * 16 + r % 2 * 8) * Weight::kOutput + c * Weight::kInput +
                                      Weight::tap_offset(tap)]
                              : 0;
      }
#pragma unroll
      for (int j = 0; j < Y; ++j) {
        uint32_t b[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int q = quad + r, c = q % (SC / 4) * 4, tap = q / (SC / 4);
          b[r] = q < quads ? stage[from_patch[j] + c * plane + Pixels::tap_offset(tap)] : 0;
        }
#pragma unroll
        for (int i = 0; i < X; ++i) multiply_tf32(sum[i][j], a[i], b);
      }
    }
    if (item % slices != slices - 1) continue;

    const int tile = first + item / slices, co = tile % tiles_m * TM + m + g;
    const Pixels at(tile / tiles_m);
    const int64_t first_plane = (int64_t(at.n) * G::CO + co) * Pixels::S;
    float* to = y + first_plane;
#pragma unroll
    for (int j = 0; j < Y; ++j) {
      int offset[2];
#pragma unroll
      for (int v = 0; v < 2; ++v) offset[v] = at.output_offset(p0 + j * 8 + t * 2 + v);
#pragma unroll
      for (int i = 0; i < X * 2; ++i) {
        if (co + i * 8 >= G::CO) continue;
        Vector<float, 2> value = {sum[i / 2][j][i % 2 * 2], sum[i / 2][j][i % 2 * 2 + 1]};
#pragma unroll
        for (int v = 0; v < 2; ++v) {
          if (THIRD == kBias) value.at[v] += third[co + i * 8];
          if (offset[v] >= 0) value.at[v] = masked<THIRD>(value.at[v], third, first_plane + i * 8 * Pixels::S + offset[v]);
          if (RELU && value.at[v] < 0) value.at[v] = 0;
        }
        if (Pixels::VY >= 2) {
          if (offset[0] >= 0) *reinterpret_cast<Vector<float, 2>*>(to + i * 8 * Pixels::S + offset[0]) = value;
        } else {
#pragma unroll
          for (int v = 0; v < 2; ++v)
            if (offset[v] >= 0) to[i * 8 * Pixels::S + offset[v]] = value.at[v];
        }
      }
    }
  }
}
template <class G, class Pixels, int X, int Y, int WM, int SC, int PER, bool TURNED, int THIRD, bool RELU>
__device__ void conv2d_tensor(Lane lane, const float* x, const float* weight, float* y, char* workspace) {
  conv2d_tensor<G, Pixels, X, Y, WM, SC, PER, TURNED, THIRD, RELU>(lane, x, weight, nullptr, y, workspace);
}

/// Part of the pixels' sum of dw [CO, CI, KH, KW], and with BIAS of db [CO], the sum of g, to the workspace as [SPLITS] of
/// [CO][CI KH KW] and [CO], or to dw and db if there is one: the product of g [CO, pixels] with the patches turned over. A block has X * 16 * WM output and SC input channels of PER
/// tiles of pixels, a warp Y groups of 8 columns and one of so many parts of the pixels. A column is a tap of one of Q
/// channels.
template <class G, class Pixels, int X, int Y, int WM, int WN, int SC, int PER, bool BIAS>
__device__ void conv2d_dw_tensor_parts(Lane lane, const float* x, const float* g_all, float* dw, float* db, char* workspace) {
  constexpr int taps = G::KH * G::KW, TM = X * 16 * WM, J = G::CI * taps, parts = kWarps / (WM * WN);
  constexpr int tiles_m = (G::CO + TM - 1) / TM, tiles_c = (G::CI + SC - 1) / SC, tiles = tiles_m * tiles_c;
  constexpr int Q = SC % 8 == 0 ? 8 : 4, steps = (Pixels::count + 7) / 8, V = Pixels::VY;
  constexpr int plane = with_rest(Pixels::words, 4, 8), patch_words = SC * plane;
  constexpr int pitch = with_rest(steps * 8, 4, 8), stage_words = patch_words + TM * pitch;
  static_assert(SC * taps <= WN * Y * 8 && SC % Q == 0);
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  uint32_t* shared = reinterpret_cast<uint32_t*>(lane.shared);
  const int split = int(lane.chunk) / tiles, m0 = int(lane.chunk) % tiles_m * TM,
            c0 = int(lane.chunk) % tiles / tiles_m * SC;
  const int first = split * PER;
  const int items = first + PER < Pixels::tiles ? PER : Pixels::tiles - first;
  auto fetch = [&](int item) {
    if (item >= items) return;
    const Pixels at(first + item);
    uint32_t* to = shared + item % 2 * stage_words;
    at.template copy_patch<SC, plane>(x, c0, to);
    const float* from = g_all + (int64_t(at.n) * G::CO + m0) * Pixels::S;
    share<TM, steps * 8 / V>([&](int row, int column) {
      const int offset = at.output_offset(column * V);
      const bool inside = offset >= 0 && m0 + row < G::CO;
      copy_async<V>(to + patch_words + row * pitch + column * V, inside ? from + row * Pixels::S + offset : g_all, inside);
    });
  };

  const int m = warp % WM * (X * 16), n0 = warp / WM % WN * (Y * 8), part = warp / (WM * WN);
  auto channel_of = [](int n) { return n / (Q * taps) * Q + n % Q; };
  auto tap_of = [](int n) { return n / Q % taps; };
  int from_patch[Y];
#pragma unroll
  for (int j = 0; j < Y; ++j) {
    const int n = n0 + j * 8 + g;
    from_patch[j] = n < SC * taps ? channel_of(n) * plane + Pixels::tap_offset(tap_of(n)) : 0;
  }
  using Gradients = Shared<TM, steps * 8 / V>;
  float sum[X][Y][4] = {}, of_bias[Gradients::own] = {};
  auto round = [&](int item) {
    uint32_t* stage = shared + item % 2 * stage_words;
    wait_for_all_copies();
    Pixels::template round_patch<SC, plane>(stage);
    Gradients::each([&](int row, int column, int k) {
      uint32_t* words = stage + patch_words + row * pitch + column * V;
      if (BIAS && c0 == 0)
#pragma unroll
        for (int v = 0; v < V; ++v) of_bias[k] += __uint_as_float(words[v]);
      round_to_tf32<V>(words);
    });
  };
  fetch(0);
  round(0);
  for (int item = 0; item < items; ++item) {
    const uint32_t* stage = shared + item % 2 * stage_words;
    __syncthreads();
    fetch(item + 1);
    const uint32_t* from_gradient = stage + patch_words + (m + g) * pitch + t;
    constexpr int own = (steps + parts - 1) / parts;
#pragma unroll 2
    for (int s = 0; s < own; ++s) {
      const int step = s * parts + part;
      if (s == own / 3 * 2 && item + 1 < items) round(item + 1);
      if (steps % parts != 0 && step >= steps) continue;
      const int low = Pixels::patch_offset(step * 8 + t), high = Pixels::patch_offset(step * 8 + t + 4);
      uint32_t a[X][4];
#pragma unroll
      for (int i = 0; i < X; ++i)
#pragma unroll
        for (int r = 0; r < 4; ++r) a[i][r] = from_gradient[(i * 16 + r % 2 * 8) * pitch + step * 8 + r / 2 * 4];
#pragma unroll
      for (int j = 0; j < Y; ++j) {
        const uint32_t b[2] = {stage[low + from_patch[j]], stage[high + from_patch[j]]};
#pragma unroll
        for (int i = 0; i < X; ++i) multiply_tf32(sum[i][j], a[i], b);
      }
    }
  }

  // Parts are added in order, in shared memory.
  constexpr int row = with_rest(SC * taps, 4, 8);
  float* total = reinterpret_cast<float*>(lane.shared);  // [TM][row]
  for (int p = 0; p < parts; ++p) {
    __syncthreads();
    if (part != p) continue;
#pragma unroll
    for (int i = 0; i < X; ++i)
#pragma unroll
      for (int j = 0; j < Y; ++j)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int n = n0 + j * 8 + t * 2 + r % 2;
          if (n >= SC * taps) continue;
          float& to = total[(m + i * 16 + r / 2 * 8 + g) * row + channel_of(n) * taps + tap_of(n)];
          to = p == 0 ? sum[i][j][r] : to + sum[i][j][r];
        }
  }
  float* of_rows = total + TM * row;  // [TM][Gradients::columns]
  if (BIAS && c0 == 0 && Gradients::first_row() < Gradients::at_once)
#pragma unroll
    for (int k = 0; k < Gradients::own; ++k)
      if (const int r = k * Gradients::at_once + Gradients::first_row(); r < TM)
        of_rows[r * Gradients::columns + Gradients::first_column()] = of_bias[k];
  __syncthreads();
  constexpr bool one = Pixels::tiles <= PER;
  float* own_part = reinterpret_cast<float*>(workspace) + int64_t(split) * (G::CO * J + (BIAS ? G::CO : 0));
  if (BIAS && c0 == 0)
    for (int r = warp; r < TM; r += kWarps) {
      float of_row = 0;
      for (int c = threadIdx.x % 32; c < Gradients::columns; c += 32) of_row += of_rows[r * Gradients::columns + c];
      of_row = warp_sum(of_row);
      if (threadIdx.x % 32 == 0 && m0 + r < G::CO) (one ? db : own_part + G::CO * J)[m0 + r] = of_row;
    }
  float* to = (one ? dw : own_part) + int64_t(m0) * J + c0 * taps;
  for (int e = threadIdx.x; e < TM * SC * taps; e += kThreads) {
    const int co = e / (SC * taps), at = e % (SC * taps);
    if (m0 + co < G::CO && c0 * taps + at < J) to[int64_t(co) * J + at] = total[co * row + at];
  }
}
template <class G, class Pixels, int X, int Y, int WM, int WN, int SC, int PER>
__device__ void conv2d_dw_tensor(Lane lane, const float* x, const float* g, float* dw, char* workspace) {
  conv2d_dw_tensor_parts<G, Pixels, X, Y, WM, WN, SC, PER, false>(lane, x, g, dw, nullptr, workspace);
}
template <class G, class Pixels, int X, int Y, int WM, int WN, int SC, int PER>
__device__ void conv2d_dw_tensor(Lane lane, const float* x, const float* g, float* dw, float* db, char* workspace) {
  conv2d_dw_tensor_parts<G, Pixels, X, Y, WM, WN, SC, PER, true>(lane, x, g, dw, db, workspace);
}
