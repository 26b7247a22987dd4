// Convolutions and their gradients on tensor cores, in TF32, by whole samples: the patches are read straight out of the
// padded sample, at the sum of what a pixel and what a tap adds to the address. Lane numbers g and t are those of PTX's
// mma.m16n8k8.
#pragma once
#include "conv2d.cuh"
#include "tensor_core.cuh"

/// weight [CO, CI, KH, KW] as ws [K8][SA], k = (ci, kh, kw); TRANSPOSED as in load_weight.
template <class G, int K8, int SA, bool TRANSPOSED>
__device__ void load_tensor_weight(const float* weight, uint32_t* ws) {
  constexpr int taps = G::KH * G::KW, K = G::CI * taps, columns = SA - 8;
  for (int e = threadIdx.x; e < K8 * columns; e += kThreads)
    if (e % columns >= G::CO || e / columns >= K) ws[e / columns * SA + e % columns] = 0;
  staged<G::CO * K>([&](int e) { return weight[e]; },
                    [&](int e, float value) {
                      const int tap = e % taps, first = e / K, second = e / taps % G::CI;
                      const int turned_ci = e / (taps * G::CO), turned_co = e / taps % G::CO;
                      const int k = TRANSPOSED ? turned_ci * taps + taps - 1 - tap : second * taps + tap;
                      ws[k * SA + (TRANSPOSED ? turned_co : first)] = to_tf32(value);
                    });
}

/// A sample [CI, H, W] as xs [CI][HP][WP], with UH - 1 and UW - 1 zeros between its rows and columns and padding around.
template <class G, int HP, int WP, int UH, int UW>
__device__ void load_tensor_sample(const float* x, uint32_t* xs) {
  constexpr int V = largest_power(G::W), words = (G::CI * HP * WP + 3) / 4;
  for (int e = threadIdx.x; e < words; e += kThreads) reinterpret_cast<Vector<uint32_t, 4>*>(xs)[e] = {};
  __syncthreads();
  staged<G::CI * G::H * G::W / V, 4>(
      [&](int e) { return reinterpret_cast<const Vector<float, V>*>(x)[e]; },
      [&](int e, const Vector<float, V>& value) {
        const int w = e * V % G::W * UW + G::PW, h = e * V / G::W % G::H * UH + G::PH, ci = e * V / G::W / G::H;
        uint32_t* row = xs + (ci * HP + h) * WP;
#pragma unroll
        for (int v = 0; v < V; ++v)
          if (h >= 0 && h < HP && w + v * UW >= 0 && w + v * UW < WP) row[w + v * UW] = to_tf32(value.at[v]);
      });
}

template <class G>
struct TensorSample {
  static constexpr int K = G::CI * G::KH * G::KW, K8 = (K + 7) / 8 * 8;
  static constexpr int MT = (G::CO + 15) / 16, SA = MT * 16 + 8, S = G::OH * G::OW;
  static constexpr int HP = (G::OH - 1) * G::SH + (G::KH - 1) * G::DH + 1;
  static constexpr int WP = (G::OW - 1) * G::SW + (G::KW - 1) * G::DW + 1;
  static constexpr int sample_words = (G::CI * HP * WP + 3) / 4 * 4;
  /// What element k of a patch adds to the address.
  __device__ static int tap_offset(int k) {
    const int ci = k / (G::KH * G::KW), kh = k / G::KW % G::KH, kw = k % G::KW;
    return k < K ? (ci * HP + kh * G::DH) * WP + kw * G::DW : 0;
  }
  /// What a pixel adds; beyond the last one, something that may be read.
  __device__ static int pixel_offset(int pixel) {
    const int p = pixel < S ? pixel : S - 1;
    return p / G::OW * G::SH * WP + p % G::OW * G::SW;
  }
};

/// A warp has Y groups of 8 pixels at a time. Shared memory: K8 * (SA + 1) + sample_words words.
template <class G, int Y, int UH, int UW, bool TRANSPOSED, bool BIAS, bool RELU>
__device__ void conv2d_tensor_samples(Lane lane, const float* x, const float* weight, const float* bias, float* y, char*) {
  using D = TensorSample<G>;
  constexpr int groups = ((D::S + 7) / 8 + Y - 1) / Y;
  uint32_t* ws = reinterpret_cast<uint32_t*>(lane.shared);
  int* offsets = reinterpret_cast<int*>(ws + D::K8 * D::SA);
  uint32_t* xs = reinterpret_cast<uint32_t*>(offsets + D::K8);
  load_tensor_weight<G, D::K8, D::SA, TRANSPOSED>(weight, ws);
  for (int k = threadIdx.x; k < D::K8; k += kThreads) offsets[k] = D::tap_offset(k);
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  float biases[D::MT][2] = {};
  if (BIAS)
#pragma unroll
    for (int m = 0; m < D::MT * 2; ++m)
      if (m * 8 + g < G::CO) biases[m / 2][m % 2] = bias[m * 8 + g];
  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    load_tensor_sample<G, D::HP, D::WP, UH, UW>(x + n * (G::CI * G::H * G::W), xs);
    __syncthreads();
    float* to = y + n * (G::CO * D::S);
    for (int group = warp; group < groups; group += kWarps) {
      float sum[D::MT][Y][4] = {};
      const uint32_t* from[Y];
#pragma unroll
      for (int i = 0; i < Y; ++i) from[i] = xs + D::pixel_offset((group * Y + i) * 8 + g);
#pragma unroll 4
      for (int k = 0; k < D::K8; k += 8) {
        uint32_t a[D::MT][4];
#pragma unroll
        for (int m = 0; m < D::MT; ++m)
#pragma unroll
          for (int r = 0; r < 4; ++r) a[m][r] = ws[(k + t + r / 2 * 4) * D::SA + m * 16 + g + r % 2 * 8];
        const int low = offsets[k + t], high = offsets[k + t + 4];
#pragma unroll
        for (int i = 0; i < Y; ++i) {
          const uint32_t b[2] = {from[i][low], from[i][high]};
#pragma unroll
          for (int m = 0; m < D::MT; ++m) multiply_tf32(sum[m][i], a[m], b);
        }
      }
#pragma unroll
      for (int m = 0; m < D::MT; ++m)
#pragma unroll
        for (int i = 0; i < Y; ++i)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int co = m * 16 + g + half * 8, pixel = (group * Y + i) * 8 + t * 2;
            if (co >= G::CO || pixel >= D::S) continue;
            Vector<float, 2> value = {sum[m][i][half * 2], sum[m][i][half * 2 + 1]};
#pragma unroll
            for (int v = 0; v < 2; ++v) {
              if (BIAS) value.at[v] += biases[m][half];
              if (RELU && value.at[v] < 0) value.at[v] = 0;
            }
            if (D::S % 2 == 0) *reinterpret_cast<Vector<float, 2>*>(to + co * D::S + pixel) = value;
            else {
              to[co * D::S + pixel] = value.at[0];
              if (pixel + 1 < D::S) to[co * D::S + pixel + 1] = value.at[1];
            }
          }
    }
    __syncthreads();
  }
}
template <class G, int Y, int UH, int UW, bool TRANSPOSED, bool BIAS, bool RELU>
__device__ void conv2d_tensor_samples(Lane lane, const float* x, const float* weight, float* y, char* workspace) {
  conv2d_tensor_samples<G, Y, UH, UW, TRANSPOSED, BIAS, RELU>(lane, x, weight, nullptr, y, workspace);
}

/// Partial sums of dw over a block's samples, to the workspace as [chunk][CO][CI KH KW]: the product of g [CO, pixels]
/// with the patches turned over. A warp has Y groups of 8 taps and one of KS parts of the pixels. Shared memory: sample
/// and g, or the parts [KS][CO][K], whichever is larger.
template <class G, int Y, int KS>
__device__ void conv2d_dw_tensor_samples(Lane lane, const float* x, const float* g_all, float*, char* workspace) {
  using D = TensorSample<G>;
  constexpr int S8 = (D::S + 7) / 8 * 8, GS = (S8 + 31) / 32 * 32 + 4, outputs = G::CO * D::K;
  constexpr int groups = ((D::K + 7) / 8 + Y - 1) / Y, tasks = groups * KS, rounds = (tasks + kWarps - 1) / kWarps;
  constexpr int depth = (S8 / 8 + KS - 1) / KS * 8;
  uint32_t* xs = reinterpret_cast<uint32_t*>(lane.shared);
  uint32_t* gs = xs + D::sample_words;  // [CO][GS]
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  float sum[rounds][D::MT][Y][4] = {};
  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    load_tensor_sample<G, D::HP, D::WP, 1, 1>(x + n * (G::CI * G::H * G::W), xs);
    staged<G::CO * S8>(
        [&](int e) { return e % S8 < D::S ? g_all[(n * G::CO + e / S8) * D::S + e % S8] : 0.0f; },
        [&](int e, float value) { gs[e / S8 * GS + e % S8] = to_tf32(value); });
    __syncthreads();
#pragma unroll
    for (int round = 0; round < rounds; ++round) {
      const int task = round * kWarps + warp, group = task % groups, part = task / groups;
      if (task >= tasks) continue;
      int offset[Y];
#pragma unroll
      for (int i = 0; i < Y; ++i) offset[i] = D::tap_offset((group * Y + i) * 8 + g);
      const int end = (part + 1) * depth < S8 ? (part + 1) * depth : S8;
#pragma unroll 2
      for (int k = part * depth; k < end; k += 8) {
        uint32_t a[D::MT][4];
#pragma unroll
        for (int m = 0; m < D::MT; ++m)
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const int co = m * 16 + g + r % 2 * 8;
            a[m][r] = co < G::CO ? gs[co * GS + k + t + r / 2 * 4] : 0;
          }
        const uint32_t *low = xs + D::pixel_offset(k + t), *high = xs + D::pixel_offset(k + t + 4);
#pragma unroll
        for (int i = 0; i < Y; ++i) {
          const uint32_t b[2] = {low[offset[i]], high[offset[i]]};
#pragma unroll
          for (int m = 0; m < D::MT; ++m) multiply_tf32(sum[round][m][i], a[m], b);
        }
      }
    }
    __syncthreads();
  }
  float* parts = reinterpret_cast<float*>(lane.shared);
  float* to = reinterpret_cast<float*>(workspace) + lane.chunk * outputs;
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    const int task = round * kWarps + warp, group = task % groups, part = task / groups;
    if (task >= tasks) continue;
#pragma unroll
    for (int m = 0; m < D::MT; ++m)
#pragma unroll
      for (int i = 0; i < Y; ++i)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int co = m * 16 + g + r / 2 * 8, tap = (group * Y + i) * 8 + t * 2 + r % 2;
          if (co < G::CO && tap < D::K) (KS == 1 ? to : parts + part * outputs)[co * D::K + tap] = sum[round][m][i][r];
        }
  }
  if (KS == 1) return;
  __syncthreads();
  for (int e = threadIdx.x; e < outputs; e += kThreads) {
    float total = parts[e];
#pragma unroll
    for (int part = 1; part < KS; ++part) total += parts[part * outputs + e];
    to[e] = total;
  }
}
