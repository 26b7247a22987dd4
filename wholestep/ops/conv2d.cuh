// Convolutions of samples [CI, H, W] with weight [CO, CI, KH, KW] to [CO, OH, OW], and their gradients. The direct
// kernels give a block whole samples: the input with its padding and the weight lie in shared memory, and a thread
// keeps P neighbouring pixels of RC channels in registers.
#pragma once
#include "matmul.cuh"

template <int BATCH_, int CI_, int H_, int W_, int CO_, int OH_, int OW_, int KH_, int KW_, int SH_, int SW_, int PH_,
          int PW_, int DH_, int DW_>
struct Conv {
  static constexpr int BATCH = BATCH_, CI = CI_, H = H_, W = W_, CO = CO_, OH = OH_, OW = OW_, KH = KH_, KW = KW_,
                       SH = SH_, SW = SW_, PH = PH_, PW = PW_, DH = DH_, DW = DW_;
};

/// How the direct forward kernel cuts a sample: groups of P pixels along a row, blocks of RC channels, the sum over input
/// channels in S parts.
template <class G, int P, int RC, int S>
struct ConvTile {
  static constexpr int groups = (G::OW + P - 1) / P, channel_blocks = (G::CO + RC - 1) / RC;
  static constexpr int segment = (P - 1) * G::SW + (G::KW - 1) * G::DW + 1;  // inputs a group reads in a row
  static constexpr int V = largest_power(P * G::SW), loads = (segment + V - 1) / V;
  static constexpr int HP = (G::OH - 1) * G::SH + (G::KH - 1) * G::DH + 1;
  static constexpr int WP = ((groups - 1) * P * G::SW + loads * V + 3) / 4 * 4;
  static constexpr int RP = RC == 1 ? 1 : (RC + 3) / 4 * 4, CP = channel_blocks * RP;  // a block starts at a vector
  static constexpr int WV = RP < 4 ? RP : 4;
  static constexpr int items = channel_blocks * G::OH * groups, depth = (G::CI + S - 1) / S;
};

/// weight [CO, CI, KH, KW] as ws [CI][KH][KW][blocks][RP], zero beyond RC and CO. TRANSPOSED: weight is [CI, CO, KH, KW]
/// and turned by half a turn, which makes of a convolution of stride 1 the gradient of its input.
template <class T, int CI, int CO, int TAPS, int RC, int RP, bool TRANSPOSED>
__device__ void load_weight(const T* weight, T* ws) {
  constexpr int CP = (CO + RC - 1) / RC * RP;
  staged<CI * TAPS * CP>(
      [&](int e) {
        const int c = e % CP % RP, co = e % CP / RP * RC + c, tap = e / CP % TAPS, ci = e / CP / TAPS;
        if (c >= RC || co >= CO) return T(0);
        return TRANSPOSED ? weight[(ci * CO + co) * TAPS + TAPS - 1 - tap] : weight[(co * CI + ci) * TAPS + tap];
      },
      [&](int e, T value) { ws[e] = value; });
}

/// A sample as xs [CI][HP][WP], zero where it is padding.
template <class T, class G, int HP, int WP>
__device__ void load_padded(const T* x, T* xs) {
  staged<G::CI * HP * WP>(
      [&](int e) {
        const int w = e % WP - G::PW, h = e / WP % HP - G::PH, ci = e / WP / HP;
        return h >= 0 && h < G::H && w >= 0 && w < G::W ? x[(ci * G::H + h) * G::W + w] : T(0);
      },
      [&](int e, T value) { xs[e] = value; });
}

/// Samples a block. Shared memory: weight, padded sample, and with S > 1 the parts of the sums.
template <class T, class G, int P, int RC, int S, bool TRANSPOSED, int THIRD, bool RELU>
__device__ void conv2d_samples(Lane lane, const T* x, const T* weight, const T* third, T* y, char*) {
  using Tile = ConvTile<G, P, RC, S>;
  constexpr int outputs = G::CO * G::OH * G::OW;
  T* ws = reinterpret_cast<T*>(lane.shared);
  T* xs = ws + (G::CI * G::KH * G::KW * Tile::CP + 3) / 4 * 4;
  T* parts = xs + G::CI * Tile::HP * Tile::WP;  // [S][CO][OH][OW]
  load_weight<T, G::CI, G::CO, G::KH * G::KW, RC, Tile::RP, TRANSPOSED>(weight, ws);
  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    auto finish = [&](T value, int co, int place) {
      if (THIRD == kBias) value += third[co];
      value = masked<THIRD>(value, third, n * outputs + place);
      return RELU && value < T(0) ? T(0) : value;
    };
    load_padded<T, G, Tile::HP, Tile::WP>(x + n * (G::CI * G::H * G::W), xs);
    __syncthreads();
    T* to = y + n * outputs;
    for (int at = threadIdx.x; at < Tile::items * S; at += kThreads) {
      const int item = at % Tile::items, part = at / Tile::items;
      const int group = item % Tile::groups, oh = item / Tile::groups % G::OH, block = item / Tile::groups / G::OH;
      const int end = (part + 1) * Tile::depth < G::CI ? (part + 1) * Tile::depth : G::CI;
      T sum[P][RC] = {};
#pragma unroll 1
      for (int ci = part * Tile::depth; ci < end; ++ci)
#pragma unroll
        for (int kh = 0; kh < G::KH; ++kh) {
          alignas(16) T in[Tile::loads * Tile::V];
          const T* from = xs + (ci * Tile::HP + oh * G::SH + kh * G::DH) * Tile::WP + group * P * G::SW;
#pragma unroll
          for (int l = 0; l < Tile::loads; ++l)
            *reinterpret_cast<Vector<T, Tile::V>*>(in + l * Tile::V) =
                *reinterpret_cast<const Vector<T, Tile::V>*>(from + l * Tile::V);
          const T* taps = ws + (ci * G::KH + kh) * G::KW * Tile::CP + block * Tile::RP;
#pragma unroll
          for (int kw = 0; kw < G::KW; ++kw) {
            alignas(16) T w[Tile::RP];
#pragma unroll
            for (int c = 0; c < Tile::RP; c += Tile::WV)
              *reinterpret_cast<Vector<T, Tile::WV>*>(w + c) =
                  *reinterpret_cast<const Vector<T, Tile::WV>*>(taps + kw * Tile::CP + c);
#pragma unroll
            for (int p = 0; p < P; ++p)
#pragma unroll
              for (int c = 0; c < RC; ++c)
                sum[p][c] = fused_multiply_add(in[p * G::SW + kw * G::DW], w[c], sum[p][c]);
          }
        }
      // Neighbouring pixels in one store where they make a vector.
      constexpr int PV = G::OW % P == 0 ? P : 1;
#pragma unroll
      for (int c = 0; c < RC; ++c) {
        const int co = block * RC + c;
        if (co < G::CO)
#pragma unroll
          for (int p = 0; p < P; p += PV)
            if (group * P + p < G::OW) {
              const int place = (co * G::OH + oh) * G::OW + group * P + p;
              Vector<T, PV> value;
#pragma unroll
              for (int v = 0; v < PV; ++v) value.at[v] = S == 1 ? finish(sum[p + v][c], co, place + v) : sum[p + v][c];
              *reinterpret_cast<Vector<T, PV>*>((S == 1 ? to : parts + part * outputs) + place) = value;
            }
      }
    }
    __syncthreads();
    if (S > 1) {
      for (int e = threadIdx.x; e < outputs; e += kThreads) {
        T total = parts[e];
#pragma unroll
        for (int s = 1; s < S; ++s) total += parts[s * outputs + e];
        to[e] = finish(total, e / (G::OH * G::OW), e);
      }
      __syncthreads();
    }
  }
}
template <class T, class G, int P, int RC, int S, bool TRANSPOSED, int THIRD, bool RELU>
__device__ void conv2d_samples(Lane lane, const T* x, const T* weight, T* y, char* workspace) {
  conv2d_samples<T, G, P, RC, S, TRANSPOSED, THIRD, RELU>(lane, x, weight, nullptr, y, workspace);
}

/// dx [CI, H, W] of g [CO, OH, OW] for any stride, the sum over output channels in S parts. Pixels of one class, the
/// remainders of h + PH and w + PW by the stride, meet the same taps; a warp's pixels are of one class, so that it skips
/// the other taps together. Shared memory: weight as [CO][KH][KW][blocks][RP], g, and with S > 1 the parts of the sums.
template <class T, class G, int RC, int S, int THIRD>
__device__ void conv2d_dx_samples(Lane lane, const T* g, const T* weight, const T* third, T* dx, char*) {
  constexpr int taps = G::KH * G::KW, RP = RC == 1 ? 1 : (RC + 3) / 4 * 4, WV = RP < 4 ? RP : 4;
  constexpr int blocks = (G::CI + RC - 1) / RC, CP = blocks * RP, outputs = G::CI * G::H * G::W;
  constexpr int rows = (G::H + G::SH - 1) / G::SH, columns = (G::W + G::SW - 1) / G::SW;
  constexpr int cells = (rows * columns + 31) / 32 * 32, classes = G::SH * G::SW;
  constexpr int items = blocks * classes * cells, depth = (G::CO + S - 1) / S;
  constexpr int size = G::CO * G::OH * G::OW;
  T* ws = reinterpret_cast<T*>(lane.shared);
  T* gs = ws + G::CO * taps * CP;
  T* parts = gs + size;  // [S][CI][H][W]
  staged<G::CO * taps * CP>(
      [&](int e) {
        const int c = e % CP % RP, ci = e % CP / RP * RC + c, tap = e / CP % taps, co = e / CP / taps;
        return c < RC && ci < G::CI ? weight[(co * G::CI + ci) * taps + tap] : T(0);
      },
      [&](int e, T value) { ws[e] = value; });
  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    staged<size>([&](int e) { return g[n * size + e]; }, [&](int e, T value) { gs[e] = value; });
    __syncthreads();
    T* to = dx + n * outputs;
    for (int at = threadIdx.x; at < items * S; at += kThreads) {
      const int item = at % items, part = at / items;
      const int cell = item % cells, kind = item / cells % classes, block = item / cells / classes;
      const int h = cell / columns * G::SH + kind / G::SW, w = cell % columns * G::SW + kind % G::SW;
      if (cell >= rows * columns || h >= G::H || w >= G::W) continue;
      const int end = (part + 1) * depth < G::CO ? (part + 1) * depth : G::CO;
      T sum[RC] = {};
#pragma unroll 2
      for (int co = part * depth; co < end; ++co)
#pragma unroll
        for (int kh = 0; kh < G::KH; ++kh) {
          const int oh = h + G::PH - kh * G::DH;
          if (oh % G::SH != 0) continue;
          const bool row = oh >= 0 && oh / G::SH < G::OH;
#pragma unroll
          for (int kw = 0; kw < G::KW; ++kw) {
            const int ow = w + G::PW - kw * G::DW;
            if (ow % G::SW != 0) continue;
            const bool inside = row && ow >= 0 && ow / G::SW < G::OW;
            const T value = inside ? gs[(co * G::OH + oh / G::SH) * G::OW + ow / G::SW] : T(0);
            const T* from = ws + (co * taps + kh * G::KW + kw) * CP + block * RP;
            alignas(16) T tap[RP];
#pragma unroll
            for (int c = 0; c < RP; c += WV)
              *reinterpret_cast<Vector<T, WV>*>(tap + c) = *reinterpret_cast<const Vector<T, WV>*>(from + c);
#pragma unroll
            for (int c = 0; c < RC; ++c) sum[c] = fused_multiply_add(value, tap[c], sum[c]);
          }
        }
#pragma unroll
      for (int c = 0; c < RC; ++c)
        if (block * RC + c < G::CI) {
          const int place = ((block * RC + c) * G::H + h) * G::W + w;
          if (S == 1) to[place] = masked<THIRD>(sum[c], third, n * outputs + place);
          else parts[part * outputs + place] = sum[c];
        }
    }
    __syncthreads();
    if (S > 1) {
      for (int e = threadIdx.x; e < outputs; e += kThreads) {
        T total = parts[e];
#pragma unroll
        for (int s = 1; s < S; ++s) total += parts[s * outputs + e];
        to[e] = masked<THIRD>(total, third, n * outputs + e);
      }
      __syncthreads();
    }
  }
}
template <class T, class G, int RC, int S, int THIRD>
__device__ void conv2d_dx_samples(Lane lane, const T* g, const T* weight, T* dx, char* workspace) {
  conv2d_dx_samples<T, G, RC, S, THIRD>(lane, g, weight, nullptr, dx, workspace);
}

/// Adds up the parts of dw and db, which lie behind one another.
template <int64_t WEIGHTS, int64_t ALL, int PARTS, int WAYS, class T>
__device__ void conv2d_join(Lane lane, const T*, const T*, T* dw, T* db, char* workspace) {
  join_parts<T, ALL, PARTS, WAYS>(
      lane, workspace, [&](int64_t at, T total) { (at < WEIGHTS ? dw : db - WEIGHTS)[at] = total; });
}
template <int64_t WEIGHTS, int64_t ALL, int PARTS, int WAYS, class T>
__device__ void conv2d_join(Lane lane, const T*, const T*, T* dw, T* db, double* squares, char* workspace) {
  double square = 0;
  join_parts<T, ALL, PARTS, WAYS>(lane, workspace, [&](int64_t at, T total) {
    (at < WEIGHTS ? dw : db - WEIGHTS)[at] = total;
    square = double(total) * double(total);
  });
  __syncthreads();
  store_sum(lane, square, squares + lane.chunk);
}

/// Partial sums of dw over a block's samples, and with BIAS of db, the sum of g, to the workspace as [chunk] of
/// [CO * CI * KH * KW] and [CO]. A thread has RC output channels of one input channel and kernel row, and every PARTS-th
/// row of pixels. Shared memory: the padded sample and its g, or the threads' sums, whichever is larger.
template <class T, class G, int RC, int PARTS, bool BIAS>
__device__ void conv2d_dw_parts(Lane lane, const T* x, const T* g, char* workspace) {
  constexpr int HP = (G::OH - 1) * G::SH + (G::KH - 1) * G::DH + 1;
  constexpr int WP = ((G::OW - 1) * G::SW + (G::KW - 1) * G::DW + 1) | 1;  // odd: rows start in different banks
  constexpr int blocks = (G::CO + RC - 1) / RC, items = blocks * G::CI * G::KH;
  constexpr int waves = (items * PARTS + kThreads - 1) / kThreads;
  constexpr int outputs = G::CO * G::CI * G::KH * G::KW;
  T* xs = reinterpret_cast<T*>(lane.shared);
  T* gs = xs + G::CI * HP * WP;
  constexpr int channels = BIAS ? (G::CO + kWarps - 1) / kWarps : 1;  // of a warp
  T sum[waves][RC][G::KW] = {}, of_bias[channels] = {};
  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    constexpr int size = G::CO * G::OH * G::OW;
    load_padded<T, G, HP, WP>(x + n * (G::CI * G::H * G::W), xs);
    staged<size>([&](int e) { return g[n * size + e]; }, [&](int e, T value) { gs[e] = value; });
    __syncthreads();
    if (BIAS)
#pragma unroll
      for (int c = 0; c < channels; ++c)
        if (const int channel = c * kWarps + threadIdx.x / 32; channel < G::CO)
          for (int e = threadIdx.x % 32; e < G::OH * G::OW; e += 32) of_bias[c] += gs[channel * (G::OH * G::OW) + e];
#pragma unroll
    for (int wave = 0; wave < waves; ++wave) {
      const int at = wave * kThreads + threadIdx.x, item = at % items, part = at / items;
      if (part >= PARTS) continue;
      const int kh = item % G::KH, ci = item / G::KH % G::CI, co = item / G::KH / G::CI * RC;
      for (int oh = part; oh < G::OH; oh += PARTS) {
        const T* row = xs + (ci * HP + oh * G::SH + kh * G::DH) * WP;
        const T* grads = gs + (co * G::OH + oh) * G::OW;
#pragma unroll 4
        for (int ow = 0; ow < G::OW; ++ow) {
          T in[G::KW];
#pragma unroll
          for (int kw = 0; kw < G::KW; ++kw) in[kw] = row[ow * G::SW + kw * G::DW];
#pragma unroll
          for (int c = 0; c < RC; ++c) {
            const T value = co + c < G::CO ? grads[c * G::OH * G::OW + ow] : T(0);
#pragma unroll
            for (int kw = 0; kw < G::KW; ++kw) sum[wave][c][kw] = fused_multiply_add(value, in[kw], sum[wave][c][kw]);
          }
        }
      }
    }
    __syncthreads();
  }
  // The parts' sums, in order.
  T* parts = reinterpret_cast<T*>(lane.shared);  // [PARTS][outputs]
#pragma unroll
  for (int wave = 0; wave < waves; ++wave) {
    const int at = wave * kThreads + threadIdx.x, item = at % items, part = at / items;
    if (part >= PARTS) continue;
    const int kh = item % G::KH, ci = item / G::KH % G::CI, co = item / G::KH / G::CI * RC;
#pragma unroll
    for (int c = 0; c < RC; ++c)
      if (co + c < G::CO)
#pragma unroll
        for (int kw = 0; kw < G::KW; ++kw)
          parts[part * outputs + (((co + c) * G::CI + ci) * G::KH + kh) * G::KW + kw] = sum[wave][c][kw];
  }
  __syncthreads();
  T* to = reinterpret_cast<T*>(workspace) + lane.chunk * (outputs + (BIAS ? G::CO : 0));
  for (int e = threadIdx.x; e < outputs; e += kThreads) {
    T total = parts[e];
    for (int part = 1; part < PARTS; ++part) total += parts[part * outputs + e];
    to[e] = total;
  }
  if (BIAS)
#pragma unroll
    for (int c = 0; c < channels; ++c) {
      const int channel = c * kWarps + threadIdx.x / 32;
      const T total = warp_sum(of_bias[c]);
      if (threadIdx.x % 32 == 0 && channel < G::CO) to[outputs + channel] = total;
    }
}
template <class T, class G, int RC, int PARTS>
__device__ void conv2d_dw_samples(Lane lane, const T* x, const T* g, T*, char* workspace) {
  conv2d_dw_parts<T, G, RC, PARTS, false>(lane, x, g, workspace);
}
template <class T, class G, int RC, int PARTS>
__device__ void conv2d_dw_samples(Lane lane, const T* x, const T* g, T*, T*, char* workspace) {
  conv2d_dw_parts<T, G, RC, PARTS, true>(lane, x, g, workspace);
}

// Plain kernels for every convolution: a thread an element of the result.
template <class T, class G, int GROUPS, int THIRD, bool RELU>
__device__ void conv2d_plain(Lane lane, const T* x, const T* weight, const T* third, T* y, char*) {
  constexpr int CG = G::CI / GROUPS;
  const int64_t at = lane.chunk * kThreads + threadIdx.x;
  if (at >= int64_t(G::BATCH) * G::CO * G::OH * G::OW) return;
  const int ow = at % G::OW, oh = at / G::OW % G::OH, co = at / (G::OW * G::OH) % G::CO;
  const int64_t n = at / (int64_t(G::OW) * G::OH * G::CO);
  const int first = co / (G::CO / GROUPS) * CG;
  T total = T(0);
  for (int ci = 0; ci < CG; ++ci)
    for (int kh = 0; kh < G::KH; ++kh)
      for (int kw = 0; kw < G::KW; ++kw) {
        const int h = oh * G::SH - G::PH + kh * G::DH, w = ow * G::SW - G::PW + kw * G::DW;
        if (h >= 0 && h < G::H && w >= 0 && w < G::W)
          total = fused_multiply_add(x[((n * G::CI + first + ci) * G::H + h) * G::W + w],
                                     weight[((int64_t(co) * CG + ci) * G::KH + kh) * G::KW + kw], total);
      }
  if (THIRD == kBias) total += third[co];
  y[at] = RELU && total < T(0) ? T(0) : total;
}
template <class T, class G, int GROUPS, int THIRD, bool RELU>
__device__ void conv2d_plain(Lane lane, const T* x, const T* weight, T* y, char* workspace) {
  conv2d_plain<T, G, GROUPS, THIRD, RELU>(lane, x, weight, nullptr, y, workspace);
}

/// Where row h of channel c is, one of C with ROWS rows of WIDTH, if the rows of each sample n lie in STRIPS strips.
template <int STRIPS, int C, int ROWS, int WIDTH>
__device__ int64_t row_in_strips(int64_t n, int c, int h) {
  constexpr int own = ROWS / STRIPS;
  return (((n * STRIPS + h / own) * C + c) * own + h % own) * WIDTH;
}

/// dx in STRIPS strips.
template <class T, class G, int GROUPS, int THIRD, int STRIPS>
__device__ void conv2d_dx_plain(Lane lane, const T* g, const T* weight, const T* third, T* dx, char*) {
  constexpr int CG = G::CI / GROUPS, OG = G::CO / GROUPS;
  const int64_t at = lane.chunk * kThreads + threadIdx.x;
  if (at >= int64_t(G::BATCH) * G::CI * G::H * G::W) return;
  const int w = at % G::W, h = at / G::W % G::H, ci = at / (G::W * G::H) % G::CI;
  const int64_t n = at / (int64_t(G::W) * G::H * G::CI);
  const int first = ci / CG * OG;
  T total = T(0);
  for (int co = first; co < first + OG; ++co)
    for (int kh = 0; kh < G::KH; ++kh)
      for (int kw = 0; kw < G::KW; ++kw) {
        const int oh = h + G::PH - kh * G::DH, ow = w + G::PW - kw * G::DW;
        if (oh % G::SH == 0 && ow % G::SW == 0 && oh >= 0 && oh / G::SH < G::OH && ow >= 0 && ow / G::SW < G::OW)
          total = fused_multiply_add(g[((n * G::CO + co) * G::OH + oh / G::SH) * G::OW + ow / G::SW],
                                     weight[((int64_t(co) * CG + ci % CG) * G::KH + kh) * G::KW + kw], total);
      }
  dx[row_in_strips<STRIPS, G::CI, G::H, G::W>(n, ci, h) + w] = masked<THIRD>(total, third, at);
}
template <class T, class G, int GROUPS, int THIRD, int STRIPS>
__device__ void conv2d_dx_plain(Lane lane, const T* g, const T* weight, T* dx, char* workspace) {
  conv2d_dx_plain<T, G, GROUPS, THIRD, STRIPS>(lane, g, weight, nullptr, dx, workspace);
}

/// A block an element of dw; g in STRIPS strips.
template <class T, class G, int GROUPS, int STRIPS>
__device__ void conv2d_dw_plain(Lane lane, const T* x, const T* g, T* dw, char*) {
  constexpr int CG = G::CI / GROUPS, OG = G::CO / GROUPS;
  const int64_t at = lane.chunk;
  const int kw = at % G::KW, kh = at / G::KW % G::KH, ci = at / (G::KW * G::KH) % CG, co = at / (G::KW * G::KH * CG);
  T total = T(0);
  for (int64_t e = threadIdx.x; e < int64_t(G::BATCH) * G::OH * G::OW; e += kThreads) {
    const int ow = e % G::OW, oh = e / G::OW % G::OH;
    const int64_t n = e / (int64_t(G::OW) * G::OH);
    const int h = oh * G::SH - G::PH + kh * G::DH, w = ow * G::SW - G::PW + kw * G::DW;
    if (h >= 0 && h < G::H && w >= 0 && w < G::W)
      total = fused_multiply_add(x[((n * G::CI + co / OG * CG + ci) * G::H + h) * G::W + w],
                                 g[row_in_strips<STRIPS, G::CO, G::OH, G::OW>(n, co, oh) + ow], total);
  }
  total = block_sum(total, lane.shared);
  if (threadIdx.x == 0) dw[at] = total;
}
template <class T, class G, int GROUPS, int STRIPS>
__device__ void conv2d_dw_plain(Lane lane, const T* x, const T* g, T* dw, T*, char* workspace) {
  conv2d_dw_plain<T, G, GROUPS, STRIPS>(lane, x, g, dw, workspace);
}
/// And one of the bias's gradient, the sum of g.
template <class T, class G, int STRIPS>
__device__ void conv2d_db_plain(Lane lane, const T*, const T* g, T*, T* db, char*) {
  T total = T(0);
  for (int64_t e = threadIdx.x; e < int64_t(G::BATCH) * G::OH * G::OW; e += kThreads)
    total += g[row_in_strips<STRIPS, G::CO, G::OH, G::OW>(e / (G::OH * G::OW), lane.chunk, e / G::OW % G::OH) + e % G::OW];
  total = block_sum(total, lane.shared);
  if (threadIdx.x == 0) db[lane.chunk] = total;
}
