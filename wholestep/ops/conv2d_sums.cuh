// Convolutions of which nothing is kept but, for every channel, the sum of its ReLU over pixels, the sums of the input under
// each tap where the ReLU is above 0, and how many pixels those are. Lane numbers g and t are those of PTX's mma.m16n8k8.
#pragma once
#include "conv2d.cuh"
#include "conv2d_samples.cuh"
#include "tensor_core.cuh"

/// A sample with its padding in shared memory: a row of pixels after the other, channel beside channel, ROW words each. So rows
/// (kh, ci) of the kernel lie ROW apart, and where a thread reads is where its pixel lies and a constant. Pixels go by in
/// pairs of neighbours, which see COLUMNS columns together, a power of two: KW of the first one's and one more.
template <class G>
struct PaddedSample {
  static_assert(G::SW == 1 && G::DW == 1 && (G::DH == 1 || G::KH == 1));
  static constexpr int pairs = (G::OW + 1) / 2, groups = (G::OH * pairs + 7) / 8;
  static constexpr int R = G::KH * G::CI, COLUMNS = G::KW < 2 ? 2 : G::KW < 4 ? 4 : 8, TILES = (R * COLUMNS + 7) / 8;
  static constexpr int HP = (G::OH - 1) * G::SH + G::KH, WP = 2 * pairs + G::KW - 1;
  static constexpr int ROW = with_rest(WP, 16, 32), STEP = G::CI * ROW;
  static constexpr int words = (HP * STEP + 8 / COLUMNS * ROW + 8 + 3) / 4 * 4;  // the last tile reads behind the sample
  static constexpr bool whole = pairs % 8 == 0;  // groups of eight pairs lie in a row

  /// Where column `number` % COLUMNS of row number / COLUMNS of the kernel is from its pair. A multiple of 4 and a number below
  /// it are as far together as their sum, and so with 8.
  __device__ static constexpr int tap(int number) { return number / COLUMNS * ROW + number % COLUMNS; }
  /// A pair of a group, or the last one for those behind it.
  __device__ static int place(int group, int pair) {
    if constexpr (whole) {
      return group / (pairs / 8) * (G::SH * STEP) + (group % (pairs / 8) * 8 + pair) * 2;
    } else {
      const int at = group * 8 + pair, p = at < G::OH * pairs ? at : G::OH * pairs - 1;
      return p / pairs * (G::SH * STEP) + p % pairs * 2;
    }
  }
  /// Whether a pair of a group, or its second pixel, exists.
  __device__ static bool exists(int group, int pair, int second) {
    if (whole && G::OW % 2 == 0) return true;
    const int p = group * 8 + pair;
    return p < G::OH * pairs && (G::OW % 2 == 0 || p % pairs * 2 + second < G::OW);
  }
  template <class T, class Program>
  __device__ static void load(const T* x, uint32_t* xs, Program program) {
    load_padded_sample<G, words, HP, WP>(
        x, xs, program, [&](int ci, int h) { return xs + h * STEP + ci * ROW; }, [](int w) { return w; });
  }
};

/// Whole samples a block. Eight pairs of pixels are the columns of one product, taps its sum; its rows are eight channels for
/// the first pixels and again for the second, whose weights stand one column further. The result stays in the registers it is
/// made in, as the mask that the second product, of channels and taps, sums pixels by: which pair is which there does not
/// matter. Shared memory: the sample, then each warp's sums [CO][S], count and total last.
template <class T, class G, bool BIAS, class Program>
__device__ void conv2d_sums_tensor(Lane lane, const T* x, const float* weight, const float* bias, float* sums, float* patches,
                                   float* positive, float scale, Program program) {
  using Sample = PaddedSample<G>;
  constexpr int K = G::CI * G::KH * G::KW, CB = (G::CO + 7) / 8, TILES = Sample::TILES;
  constexpr int S = with_rest(TILES * 8 + 2, 8, 16), working = Sample::groups < kWarps ? Sample::groups : kWarps;
  constexpr uint32_t one = 0x3f800000u;
  uint32_t* xs = reinterpret_cast<uint32_t*>(lane.shared);
  float* parts = reinterpret_cast<float*>(xs + Sample::words);
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

  uint32_t ws[CB][TILES][4];
  float start[CB];
#pragma unroll
  for (int c = 0; c < CB; ++c) {
    const bool exists = c * 8 + 8 <= G::CO || c * 8 + g < G::CO;
    start[c] = BIAS && exists ? bias[c * 8 + g] : 0.0f;
#pragma unroll
    for (int k = 0; k < TILES * 4; ++k) {
      const int number = k / 2 * 4 + t, row = number / Sample::COLUMNS, kw = number % Sample::COLUMNS - k % 2;
      const int tap = (row % G::CI * G::KH + row / G::CI) * G::KW + kw;
      ws[c][k / 4][k % 4] = exists && row < Sample::R && unsigned(kw) < unsigned(G::KW)
                                ? __float_as_uint(weight[(c * 8 + g) * K + tap])
                                : 0u;
    }
  }
  const uint32_t *of_product = xs + Sample::tap(t), *of_sums = xs + Sample::tap(g);

  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    Sample::load(x + n * (G::CI * G::H * G::W), xs, program);
    __syncthreads();
    uint32_t rounded[CB][TILES][4];  // here, when the weights have come
#pragma unroll
    for (int k = 0; k < CB * TILES * 4; ++k) {
      uint32_t word = ws[k / (TILES * 4)][k / 4 % TILES][k % 4];
      asm volatile("" : "+r"(word));
      rounded[k / (TILES * 4)][k / 4 % TILES][k % 4] = read_tf32(word);
    }
    float taps[CB][TILES][4] = {}, total[CB] = {}, count[CB] = {};
#pragma unroll 1
    for (int group = warp; group < Sample::groups; group += kWarps) {
      uint32_t b[TILES][2];
      const uint32_t* at = of_product + Sample::place(group, g);
#pragma unroll
      for (int k = 0; k < TILES * 2; ++k)
        b[k / 2][k % 2] = k * 4 < Sample::R * Sample::COLUMNS ? at[Sample::tap(k * 4)] : 0u;
      uint32_t above[CB][4];
#pragma unroll
      for (int c = 0; c < CB; ++c) {
        float y[2][4] = {{start[c], start[c], start[c], start[c]}, {}};
#pragma unroll
        for (int k = 0; k < TILES; ++k) multiply_tf32(y[k % 2], rounded[c][k], b[k]);
#pragma unroll
        for (int r = 0; r < 4; ++r) {  // row r / 2 * 8 + g, column 2 t + r % 2; the mask's sum counts columns t and t + 4
          const float value = Sample::exists(group, 2 * t + r % 2, r / 2) ? max_zero(y[0][r] + y[1][r]) : 0.0f;
          const uint32_t bit = value > 0.0f ? one : 0u;
          total[c] += value;
          count[c] += __uint_as_float(bit);
          above[c][r % 2 * 2 + r / 2] = bit;
        }
      }
      const uint32_t *even = of_sums + Sample::place(group, 2 * t), *odd = of_sums + Sample::place(group, 2 * t + 1);
#pragma unroll
      for (int k = 0; k < TILES; ++k) {
        const uint32_t pixels[2] = {even[Sample::tap(k * 8)], odd[Sample::tap(k * 8)]};
#pragma unroll
        for (int c = 0; c < CB; ++c) multiply_tf32(taps[c][k], above[c], pixels);
      }
    }

#pragma unroll
    for (int c = 0; c < CB; ++c) {
#pragma unroll
      for (int step = 1; step < 4; step *= 2) {
        total[c] += __shfl_xor_sync(0xffffffffu, total[c], step);
        count[c] += __shfl_xor_sync(0xffffffffu, count[c], step);
      }
      auto* own = reinterpret_cast<Vector<float, 2>*>(parts + (warp * G::CO + c * 8 + g) * S);
      const bool exists = c * 8 + 8 <= G::CO || c * 8 + g < G::CO;
#pragma unroll
      for (int k = 0; k < TILES; ++k) {  // what the second pixels saw stands one column further
        const float next = __shfl_down_sync(0xffffffffu, taps[c][k][2], 1);
        if (exists) own[k * 4 + t] = {taps[c][k][0] + taps[c][k][3], taps[c][k][1] + next};
      }
      if (exists && t == 0) own[TILES * 4] = {count[c], total[c]};
    }
    __syncthreads();
    for (int e = threadIdx.x; e < G::CO * (K + 2); e += kThreads) {
      const int channel = e / (K + 2), k = e % (K + 2), kw = k % G::KW, kh = k / G::KW % G::KH, ci = k / (G::KW * G::KH);
      const float* from = parts + channel * S + (k < K ? (kh * G::CI + ci) * Sample::COLUMNS + kw : TILES * 8 + k - K);
      float sum = 0;
#pragma unroll
      for (int w = 0; w < working; ++w) sum += from[w * G::CO * S];
      const int64_t to = n * G::CO + channel;
      if (k < K) patches[to * K + k] = sum;
      else if (k == K) positive[to] = sum;
      else sums[to] = scale * sum;
    }
  }
}

/// A block one channel of a sample, in the type of the weight.
template <class T, class X, class G, bool BIAS, class Program>
__device__ void conv2d_sums_plain(Lane lane, const X* x, const T* weight, const T* bias, T* sums, T* patches, T* positive,
                                  T scale, Program program) {
  constexpr int K = G::CI * G::KH * G::KW;
  const int channel = lane.chunk % G::CO;
  x += lane.chunk / G::CO * (G::CI * G::H * G::W);
  auto under = [&](int pixel, int k) {
    const int h = pixel / G::OW * G::SH - G::PH + k / G::KW % G::KH * G::DH, w = pixel % G::OW * G::SW - G::PW + k % G::KW * G::DW;
    return h >= 0 && h < G::H && w >= 0 && w < G::W ? T(program(x[(k / (G::KH * G::KW) * G::H + h) * G::W + w])) : T(0);
  };
  for (int wanted = 0; wanted < K + 2; ++wanted) {
    T sum = T(0);
    for (int pixel = threadIdx.x; pixel < G::OH * G::OW; pixel += kThreads) {
      T y = BIAS ? bias[channel] : T(0);
      for (int k = 0; k < K; ++k) y = fused_multiply_add(under(pixel, k), weight[channel * K + k], y);
      if (wanted == K + 1) sum += y < T(0) ? T(0) : y;
      else if (y > T(0)) sum += wanted < K ? under(pixel, wanted) : T(1);
    }
    sum = block_sum(sum, lane.shared);
    if (threadIdx.x > 0) continue;
    if (wanted < K) patches[lane.chunk * K + wanted] = sum;
    else if (wanted == K) positive[lane.chunk] = sum;
    else sums[lane.chunk] = scale * sum;
  }
}

/// A block WIDTH of a channel's taps, of which the last counts pixels, for the bias; threads share out the samples. SCALE: the
/// bits of a double.
template <class T, int SAMPLES, int CO, int K, int WIDTH, bool BIAS, uint64_t SCALE>
__device__ void conv2d_sums_dw(Lane lane, const T* patches, const T* positive, const T* g, T* dw, T* db, char*) {
  constexpr int taps = K + BIAS, blocks = (taps + WIDTH - 1) / WIDTH, rows = kThreads / WIDTH;
  T* sums = reinterpret_cast<T*>(lane.shared);  // [rows][WIDTH]
  const T scale = T(__longlong_as_double(SCALE));
  const int channel = lane.chunk / blocks, k = lane.chunk % blocks * WIDTH + threadIdx.x % WIDTH, row = threadIdx.x / WIDTH;
  T sum = T(0);
  if (k < taps) {
#pragma unroll 8
    for (int n = row; n < SAMPLES; n += rows) {
      const int64_t at = int64_t(n) * CO + channel;
      sum = fused_multiply_add(k < K ? patches[at * K + k] : positive[at], g[at] * scale, sum);
    }
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (row > 0 || k >= taps) return;
  for (int r = 1; r < rows; ++r) sum += sums[r * WIDTH + threadIdx.x];
  if (k < K) dw[channel * K + k] = sum;
  else if (BIAS) db[channel] = sum;
}
template <class T, int SAMPLES, int CO, int K, int WIDTH, bool BIAS, uint64_t SCALE>
__device__ void conv2d_sums_dw(Lane lane, const T* patches, const T* positive, const T* g, T* dw, char* workspace) {
  conv2d_sums_dw<T, SAMPLES, CO, K, WIDTH, BIAS, SCALE>(lane, patches, positive, g, dw, nullptr, workspace);
}
