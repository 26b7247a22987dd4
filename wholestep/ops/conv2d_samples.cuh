// Convolutions of small networks and their gradients on tensor cores, in TF32: a block has whole samples, and a thread
// reads a run of pixels once for all taps of a row of the kernel. Lane numbers g and t are those of PTX's mma.m16n8k8.
#pragma once
#include "conv2d.cuh"
#include "tensor_core.cuh"

/// A sample [CI, H, W] to WORDS words of shared memory, first zeros and then a pixel (h, w) of the padded one, [HP, WP] a
/// channel, to row(ci, h)[column(w)] in TF32, taken through `program`.
template <class G, int WORDS, int HP, int WP, class T, class Program, class Row, class Column>
__device__ void load_padded_sample(const T* x, uint32_t* xs, Program program, Row row, Column column) {
  constexpr unsigned V = largest_power(G::W), vectors = WORDS / 4;
  constexpr bool cut = G::PH < 0 || G::H + G::PH > HP || G::PW < 0 || G::W + G::PW > WP;
  staged<vectors, 1>([](int e) { return e; },
                     [&](int, int e) { reinterpret_cast<Vector<uint32_t, 4>*>(xs)[e] = {}; });
  __syncthreads();
  staged<G::CI * G::H * G::W / V, 4>(
      [&](unsigned e) { return reinterpret_cast<const Vector<T, V>*>(x)[e]; },
      [&](unsigned e, const Vector<T, V>& value) {
        const int w = e % (G::W / V) * V + G::PW, h = e / (G::W / V) % G::H + G::PH, ci = e / (G::W / V * G::H);
        uint32_t* to = row(ci, h);
#pragma unroll
        for (int v = 0; v < int(V); ++v)
          if (!cut || (h >= 0 && h < HP && w + v >= 0 && w + v < WP)) to[column(w + v)] = to_tf32(program(value.at[v]));
      });
}

/// A sample [CI, H, W] with its padding, in rows of ROW words and planes of PLANE. Columns that a stride takes one after
/// the other lie side by side. RUN pixels of an output row belong together, the last run of a row may reach beyond it.
template <class G, int RUN, int ROW, int PLANE>
struct SampleTile {
  static constexpr int runs = (G::OW + RUN - 1) / RUN, reach = (RUN - 1) * G::SW + (G::KW - 1) * G::DW + 1;
  static constexpr int HP = (G::OH - 1) * G::SH + (G::KH - 1) * G::DH + 1, WP = (runs - 1) * RUN * G::SW + reach;
  static constexpr int words = (G::CI * PLANE + 3) / 4 * 4;

  __device__ static constexpr int column(int w) { return w % G::SW * ((WP + G::SW - 1) / G::SW) + w / G::SW; }
  /// Of the first pixel of a run, run = (oh, ow / RUN).
  __device__ static unsigned run_offset(unsigned run) { return run / runs * G::SH * ROW + run % runs * RUN; }
  /// What row r = (kh, ci) of the kernel adds.
  __device__ static unsigned row_offset(unsigned r) { return r % G::CI * PLANE + r / G::CI * (G::DH * ROW); }

  __device__ static void load(const float* x, uint32_t* xs) {
    load_padded_sample<G, words, HP, WP>(
        x, xs, [](float value) { return value; }, [&](int ci, int h) { return xs + ci * PLANE + h * ROW; },
        [](int w) { return column(w); });
  }
};

/// Where tap (kh, kw) of a channel's weight is, from FIRST on, and where the channel's pixel (oh, ow) goes.
template <class G>
struct Forward {
  static constexpr int KH = G::KH, KW = G::KW, SH = 1, SW = 1, H = G::OH, W = G::OW, outputs = G::CO * H * W;
  static constexpr int channel = G::CI * KH * KW, input = KH * KW, row = KW, column = 1;
  int a = 0, b = 0, first = 0, first_kh = 0, first_kw = 0, h = 0, w = 0;
  __device__ explicit Forward(int) {}
};
/// The gradient of F's input as a convolution of stride 1 over that of its result, G: pixels whose row and column leave
/// (a, b) when divided by F's stride are a class of their own, which meets one tap in a stride, backwards.
template <class G, class F>
struct Turned {
  static constexpr int SH = F::SH, SW = F::SW, H = F::H, W = F::W, outputs = F::CI * H * W;
  static constexpr int KH = (F::KH + SH - 1) / SH, KW = (F::KW + SW - 1) / SW;  // taps that a class may meet
  static constexpr int channel = F::KH * F::KW, input = F::CI * channel, row = -SH * F::KW, column = -SW;
  int a, b, first, first_kh, first_kw;  // taps before first_kh and first_kw do not exist
  int h, w;                             // the class's place in the sample
  __device__ explicit Turned(int number) {
    a = number / SW, b = number % SW;
    const int kh = (a + F::PH) % SH + (KH - 1) * SH, kw = (b + F::PW) % SW + (KW - 1) * SW;
    first = kh * F::KW + kw;
    first_kh = kh < F::KH ? 0 : (kh - F::KH) / SH + 1;
    first_kw = kw < F::KW ? 0 : (kw - F::KW) / SW + 1;
    h = (a + F::PH) / SH - F::PH / SH, w = (b + F::PW) / SW - F::PW / SW;
  }
};

/// values[(i + t) % N] to place i. The channels that four neighbouring threads store often lie in the same banks, so each
/// begins at another pixel.
template <int N>
__device__ void rotate(float (&values)[N], int t) {
#pragma unroll
  for (int step = 1; step < 4; step *= 2) {
    float moved[N];
#pragma unroll
    for (int i = 0; i < N; ++i) moved[i] = t & step ? values[(i + step) % N] : values[i];
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = moved[i];
  }
}

/// One sample: load(xs) makes its tile, put(channel, h, w, value) takes what it gives, to which `bias` was added where BIAS.
/// Pixels are the rows of the product, channels its columns, rows of the kernel its sum. A warp has 16 runs of pixels, NB
/// groups of 8 channels and one of SPLIT parts of the sum. Shared memory: the sample, and with SPLIT > 1 the parts, as the
/// tensor cores leave them: four elements of a thread together.
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, class Taps, bool BIAS, class Load, class Put>
__device__ void conv2d_tensor_sample(char* shared, const float* weight, const float* bias, Load load, Put put) {
  using Tile = SampleTile<G, RUN, ROW, PLANE>;
  constexpr int R = Taps::KH * G::CI, depth = ((R + 7) / 8 + SPLIT - 1) / SPLIT * 8, all = G::OH * Tile::runs;
  constexpr int units = (all + 15) / 16, blocks = ((G::CO + 7) / 8 + NB - 1) / NB, classes = Taps::SH * Taps::SW;
  constexpr int reach = (RUN - 1) * G::SW + (Taps::KW - 1) * G::DW + 1;
  constexpr int results = units * blocks * classes, fragments = results * RUN * NB * 32;
  uint32_t* xs = reinterpret_cast<uint32_t*>(shared);
  auto* parts = reinterpret_cast<Vector<float, 4>*>(xs + Tile::words);  // [SPLIT][results][RUN][NB][32]
  load(xs);
  __syncthreads();
  // Element r of pixel i of a thread's runs, of which pixel (h, w) has a class in each of its cells.
  auto finish = [&](unsigned result, unsigned g, unsigned t, int i, int nb, int r, float value) {
    const Taps taps(result / (units * blocks));
    const unsigned run = result % units * 16 + r / 2 * 8 + g;
    const int channel = (result / units % blocks * NB + nb) * 8 + t * 2 + r % 2;
    const int h = run / Tile::runs * Taps::SH + taps.a, w = (run % Tile::runs * RUN + i) * Taps::SW + taps.b;
    if ((G::CO % (NB * 8) != 0 && channel >= G::CO) || (all % 16 != 0 && run >= all) || h >= Taps::H ||
        ((G::OW % RUN != 0 || Taps::W % Taps::SW != 0) && w >= Taps::W))
      return;
    put(channel, h, w, value);
  };
  each_task<results * SPLIT>([&](unsigned task, unsigned lane_number) {
    const unsigned g = lane_number / 4, t = lane_number % 4;
    const unsigned part = task / results, unit = task % results % units;
    const int first_channel = task % results / units % blocks * NB * 8;
    const Taps taps(task % results / (units * blocks));
    int from[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const unsigned run = unit * 16 + half * 8 + g;
      from[half] = int(Tile::run_offset(all % 16 == 0 || run < all ? run : all - 1)) + taps.h * ROW + taps.w;
    }
    float sum[RUN][NB][4];
#pragma unroll
    for (int nb = 0; nb < NB; ++nb)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int channel = first_channel + nb * 8 + t * 2 + r % 2;
        const float shift = BIAS && part == 0 && channel < G::CO ? bias[channel] : 0;
#pragma unroll
        for (int i = 0; i < RUN; ++i) sum[i][nb][r] = shift;
      }
    const int begin = taps.first_kh * G::CI + int(part) * depth, end = begin + depth < R ? begin + depth : R;
#pragma unroll 1
    for (int slice = 0; slice < depth / 8; ++slice) {
      const int first_row = begin + slice * 8;
      if (first_row >= end) break;
      uint32_t in[4][reach];  // as a of multiply_tf32
      float weights[2][Taps::KW][NB];
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const unsigned wanted = first_row + k * 4 + t, r = wanted < R ? wanted : R - 1, offset = Tile::row_offset(r);
        const float* taps_of = weight + int((first_channel + g) * Taps::channel + r % G::CI * Taps::input + taps.first) +
                               int(r / G::CI) * Taps::row;
#pragma unroll
        for (int kw = 0; kw < Taps::KW; ++kw)
#pragma unroll
          for (int nb = 0; nb < NB; ++nb) {
            const bool exists = (R % 8 == 0 || wanted < R) && (Taps::SW == 1 || kw >= taps.first_kw) &&
                                (G::CO % (NB * 8) == 0 || first_channel + nb * 8 + int(g) < G::CO);
            weights[k][kw][nb] = exists ? taps_of[nb * 8 * Taps::channel + kw * Taps::column] : 0;
          }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = opaque(from[half] + int(offset));
#pragma unroll
          for (int w = 0; w < reach; ++w) in[k * 2 + half][w] = xs[row + Tile::column(w)];
        }
      }
      __syncwarp();  // all reads go out before the first product waits for one
#pragma unroll
      for (int kw = 0; kw < Taps::KW; ++kw) {
        if (Taps::SW > 1 && kw < taps.first_kw) continue;
        uint32_t b[NB][2];
#pragma unroll
        for (int nb = 0; nb < NB; ++nb)
#pragma unroll
          for (int k = 0; k < 2; ++k) b[nb][k] = to_tf32(weights[k][kw][nb]);
#pragma unroll
        for (int i = 0; i < RUN; ++i) {
          const int w = i * G::SW + kw * G::DW;
          const uint32_t a[4] = {in[0][w], in[1][w], in[2][w], in[3][w]};
#pragma unroll
          for (int nb = 0; nb < NB; ++nb) multiply_tf32(sum[i][nb], a, b[nb]);
        }
      }
    }
    auto* part_of = parts + task * (RUN * NB * 32) + lane_number;
#pragma unroll
    for (int nb = 0; nb < NB; ++nb)
      if constexpr (SPLIT > 1) {
#pragma unroll
        for (int i = 0; i < RUN; ++i)
          part_of[(i * NB + nb) * 32] = {sum[i][nb][0], sum[i][nb][1], sum[i][nb][2], sum[i][nb][3]};
      } else {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          float values[RUN];
#pragma unroll
          for (int i = 0; i < RUN; ++i) values[i] = sum[i][nb][r];
          rotate(values, t);
#pragma unroll
          for (int i = 0; i < RUN; ++i) finish(task, g, t, (i + t) % RUN, nb, r, values[i]);
        }
      }
  });
  __syncthreads();
  if constexpr (SPLIT > 1) {
#pragma unroll 1
    for (int first = 0; first < fragments; first += kThreads) {
      const unsigned e = first + threadIdx.x, t = e % 4, result = e / (RUN * NB * 32), nb = e / 32 % NB;
      if (fragments % kThreads != 0 && e >= fragments) break;
      const unsigned i = (e / (NB * 32) + t) % RUN;  // as rotate()
      const auto* part_of = parts + ((result * RUN + i) * NB + nb) * 32 + e % 32;
      Vector<float, 4> total = *part_of;
#pragma unroll
      for (int part = 1; part < SPLIT; ++part) {
        const Vector<float, 4> more = part_of[part * fragments];
#pragma unroll
        for (int r = 0; r < 4; ++r) total.at[r] += more.at[r];
      }
#pragma unroll
      for (int r = 0; r < 4; ++r) finish(result, e % 32 / 4, t, i, nb, r, total.at[r]);
    }
    __syncthreads();
  }
}
/// A block's samples; `third` as masked() has it.
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, class Taps, int THIRD, bool RELU>
__device__ void conv2d_tensor_samples(Lane lane, const float* x, const float* weight, const float* third, float* y, char*) {
  using Tile = SampleTile<G, RUN, ROW, PLANE>;
  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n)
    conv2d_tensor_sample<G, RUN, ROW, PLANE, NB, SPLIT, Taps, THIRD == kBias>(
        lane.shared, weight, third, [&](uint32_t* xs) { Tile::load(x + n * (G::CI * G::H * G::W), xs); },
        [&](int channel, int h, int w, float value) {
          const int64_t at = n * Taps::outputs + (channel * Taps::H + h) * Taps::W + w;
          value = masked<THIRD>(value, third, at);
          y[at] = RELU ? max_zero(value) : value;
        });
}
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, int THIRD, bool RELU>
__device__ void conv2d_forward_tensor_samples(Lane lane, const float* x, const float* weight, const float* bias, float* y,
                                              char* workspace) {
  conv2d_tensor_samples<G, RUN, ROW, PLANE, NB, SPLIT, Forward<G>, THIRD, RELU>(lane, x, weight, bias, y, workspace);
}
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, int THIRD, bool RELU>
__device__ void conv2d_forward_tensor_samples(Lane lane, const float* x, const float* weight, float* y, char* workspace) {
  conv2d_tensor_samples<G, RUN, ROW, PLANE, NB, SPLIT, Forward<G>, THIRD, RELU>(lane, x, weight, nullptr, y, workspace);
}
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, class F>
__device__ void conv2d_dx_tensor_samples(Lane lane, const float* g, const float* weight, float* dx, char* workspace) {
  conv2d_tensor_samples<G, RUN, ROW, PLANE, NB, SPLIT, Turned<G, F>, kNoThird, false>(lane, g, weight, nullptr, dx, workspace);
}
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, class F>
__device__ void conv2d_dx_tensor_samples(Lane lane, const float* g, const float* weight, const float* mask, float* dx,
                                         char* workspace) {
  conv2d_tensor_samples<G, RUN, ROW, PLANE, NB, SPLIT, Turned<G, F>, kMask, false>(lane, g, weight, mask, dx, workspace);
}

/// Partial sums of dw over a block's samples, and with BIAS of db, the sum of the gradient, to the workspace as [chunk] of
/// [CO][CI KH KW] and [CO]; load(n, xs) makes the tile of sample n. Rows of the product are taps: 8
/// rows of the kernel with one kw are half a tile of it; channels are its columns, pixels its sum, of which a thread has a
/// run. A warp has RB groups of 8 rows of the kernel, NB groups of 8 channels and one of SPLIT parts of the sum. Shared
/// memory: the sample, or the parts of all outputs, whichever is larger. Runs end with a row.
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, int RB, bool BIAS, class Load>
__device__ void conv2d_dw_tensor_parts(Lane lane, const float* g_all, char* workspace, Load load) {
  using Tile = SampleTile<G, RUN, ROW, PLANE>;
  constexpr int R = G::CI * G::KH, K = R * G::KW, S = G::OH * G::OW, weights = G::CO * K;
  constexpr int outputs = weights + (BIAS ? G::CO : 0), all = G::OH * Tile::runs;
  constexpr int row_blocks = ((R + 7) / 8 + RB - 1) / RB, blocks = ((G::CO + 7) / 8 + NB - 1) / NB;
  constexpr int halves = RB * G::KW, tiles = (halves + 1) / 2, V = largest_power(RUN);
  static_assert(G::OW % RUN == 0 && row_blocks * blocks * SPLIT <= kWarps);
  uint32_t* xs = reinterpret_cast<uint32_t*>(lane.shared);
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int first_row = warp % row_blocks * RB * 8, first_channel = warp / row_blocks % blocks * NB * 8;
  const int part = warp / row_blocks / blocks;
  int offset[RB];
#pragma unroll
  for (int rb = 0; rb < RB; ++rb) {
    const int r = first_row + rb * 8 + g;
    offset[rb] = Tile::row_offset(r < R ? r : 0);
  }
  float sum[tiles][NB][4] = {}, of_bias[NB] = {};
  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    load(n, xs);
    __syncthreads();
#pragma unroll 1
    for (int run = part * 4 + t; part < SPLIT && run < (all + 3) / 4 * 4; run += SPLIT * 4) {
      const bool exists = all % 4 == 0 || run < all;
      const int from = int(Tile::run_offset(exists ? run : 0));
      uint32_t in[RB][Tile::reach], out[NB][RUN];
#pragma unroll
      for (int rb = 0; rb < RB; ++rb) {
        const int row = opaque(from + offset[rb]);
#pragma unroll
        for (int w = 0; w < Tile::reach; ++w) in[rb][w] = exists ? xs[row + Tile::column(w)] : 0;
      }
#pragma unroll
      for (int nb = 0; nb < NB; ++nb) {
        const int channel = first_channel + nb * 8 + g;
        const float* gradient = g_all + ((n * G::CO + channel) * S + run * RUN);
#pragma unroll
        for (int i = 0; i < RUN; i += V) {
          Vector<float, V> value = {};
          if (exists && (G::CO % (NB * 8) == 0 || channel < G::CO))
            value = *reinterpret_cast<const Vector<float, V>*>(gradient + i);
#pragma unroll
          for (int v = 0; v < V; ++v) {
            out[nb][i + v] = to_tf32(value.at[v]);
            if (BIAS) of_bias[nb] += value.at[v];
          }
        }
      }
      __syncwarp();  // as above
#pragma unroll
      for (int i = 0; i < RUN; i += 2)
#pragma unroll
        for (int m = 0; m < tiles; ++m) {
          uint32_t a[4];
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const int half = m * 2 + r % 2, pixel = i + r / 2;
            a[r] = half < halves && pixel < RUN ? in[half / G::KW][pixel * G::SW + half % G::KW * G::DW] : 0;
          }
#pragma unroll
          for (int nb = 0; nb < NB; ++nb) {
            const uint32_t b[2] = {out[nb][i], i + 1 < RUN ? out[nb][i + 1] : 0};
            multiply_tf32(sum[m][nb], a, b);
          }
        }
    }
    __syncthreads();
  }
  float* parts = reinterpret_cast<float*>(lane.shared);
  float* to = reinterpret_cast<float*>(workspace) + lane.chunk * outputs;
  if (part < SPLIT)
#pragma unroll
    for (int m = 0; m < tiles; ++m)
#pragma unroll
      for (int nb = 0; nb < NB; ++nb)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int half = m * 2 + r / 2, row = first_row + half / G::KW * 8 + g, kw = half % G::KW;
          const int channel = first_channel + nb * 8 + t * 2 + r % 2;
          if (half < halves && row < R && channel < G::CO)
            parts[part * outputs + channel * K + (row % G::CI * G::KH + row / G::CI) * G::KW + kw] = sum[m][nb][r];
        }
  if (BIAS && part < SPLIT && first_row == 0)
#pragma unroll
    for (int nb = 0; nb < NB; ++nb) {
      const int channel = first_channel + nb * 8 + g;
      of_bias[nb] += __shfl_xor_sync(0xffffffffu, of_bias[nb], 1);
      of_bias[nb] += __shfl_xor_sync(0xffffffffu, of_bias[nb], 2);
      if (t == 0 && channel < G::CO) parts[part * outputs + weights + channel] = of_bias[nb];
    }
  __syncthreads();
  staged<outputs, 4>(
      [&](int e) {
        float total = parts[e];
#pragma unroll
        for (int part = 1; part < SPLIT; ++part) total += parts[part * outputs + e];
        return total;
      },
      [&](int e, float value) { to[e] = value; });
}
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, int RB, bool BIAS>
__device__ void conv2d_dw_tensor_samples(Lane lane, const float* x, const float* g, char* workspace) {
  conv2d_dw_tensor_parts<G, RUN, ROW, PLANE, NB, SPLIT, RB, BIAS>(lane, g, workspace, [&](int64_t n, uint32_t* xs) {
    SampleTile<G, RUN, ROW, PLANE>::load(x + n * (G::CI * G::H * G::W), xs);
  });
}
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, int RB>
__device__ void conv2d_dw_tensor_samples(Lane lane, const float* x, const float* g, float*, char* workspace) {
  conv2d_dw_tensor_samples<G, RUN, ROW, PLANE, NB, SPLIT, RB, false>(lane, x, g, workspace);
}
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, int RB>
__device__ void conv2d_dw_tensor_samples(Lane lane, const float* x, const float* g, float*, float*, char* workspace) {
  conv2d_dw_tensor_samples<G, RUN, ROW, PLANE, NB, SPLIT, RB, true>(lane, x, g, workspace);
}
