// Convolutions of samples [CI, H, W] with weight [CO, CI, KH, KW] to [CO, OH, OW], and their gradients. The direct
// kernels give a block whole samples: the input with its padding and the weight lie in shared memory, and a thread
// keeps P neighbouring pixels of RC channels in registers.
#include "tensor_core.cuh"

template <int BATCH_, int CI_, int H_, int W_, int CO_, int OH_, int OW_, int KH_, int KW_, int SH_, int SW_, int PH_,
          int PW_, int DH_, int DW_>
struct Conv {
  static constexpr int BATCH = BATCH_, CI = CI_, H = H_, W = W_, CO = CO_, OH = OH_, OW = OW_, KH = KH_, KW = KW_,
                       SH = SH_, SW = SW_, PH = PH_, PW = PW_, DH = DH_, DW = DW_;
};

constexpr int largest_power(int n) { return n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1; }

/// How the direct forward kernel cuts a sample: groups of P pixels along a row, blocks of RC channels.
template <class G, int P, int RC>
struct ConvTile {
  static constexpr int groups = (G::OW + P - 1) / P, channel_blocks = (G::CO + RC - 1) / RC;
  static constexpr int segment = (P - 1) * G::SW + (G::KW - 1) * G::DW + 1;  // inputs a group reads in a row
  static constexpr int V = largest_power(P * G::SW), loads = (segment + V - 1) / V;
  static constexpr int HP = (G::OH - 1) * G::SH + (G::KH - 1) * G::DH + 1;
  static constexpr int WP = ((groups - 1) * P * G::SW + loads * V + 3) / 4 * 4;
  static constexpr int CP = (channel_blocks * RC + 3) / 4 * 4;
  static constexpr int WV = largest_power(RC);
};

/// weight [CO, CI, KH, KW] as ws [CI][KH][KW][CP], channels beyond CO zero. TRANSPOSED: weight is [CI, CO, KH, KW] and
/// turned by half a turn, which makes of a convolution of stride 1 the gradient of its input.
template <class T, class G, int CP, bool TRANSPOSED>
__device__ void load_weight(const T* weight, T* ws) {
  constexpr int taps = G::KH * G::KW;
  for (int e = threadIdx.x; e < G::CI * taps * CP; e += kThreads) {
    const int co = e % CP, tap = e / CP % taps, ci = e / CP / taps;
    ws[e] = co >= G::CO    ? T(0)
            : TRANSPOSED   ? weight[(ci * G::CO + co) * taps + taps - 1 - tap]
                           : weight[(co * G::CI + ci) * taps + tap];
  }
}

/// A sample as xs [CI][HP][WP], zero where it is padding.
template <class T, class G, int HP, int WP>
__device__ void load_padded(const T* x, T* xs) {
  for (int e = threadIdx.x; e < G::CI * HP * WP; e += kThreads) {
    const int w = e % WP - G::PW, h = e / WP % HP - G::PH, ci = e / WP / HP;
    xs[e] = h >= 0 && h < G::H && w >= 0 && w < G::W ? x[(ci * G::H + h) * G::W + w] : T(0);
  }
}

/// Samples a block; shared memory: weight and padded sample.
template <class T, class G, int P, int RC, bool TRANSPOSED, bool BIAS, bool RELU>
__device__ void conv2d_samples(Lane lane, const T* x, const T* weight, const T* bias, T* y, char*) {
  using Tile = ConvTile<G, P, RC>;
  T* ws = reinterpret_cast<T*>(lane.shared);
  T* xs = ws + G::CI * G::KH * G::KW * Tile::CP;
  load_weight<T, G, Tile::CP, TRANSPOSED>(weight, ws);
  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    load_padded<T, G, Tile::HP, Tile::WP>(x + n * (G::CI * G::H * G::W), xs);
    __syncthreads();
    T* to = y + n * (G::CO * G::OH * G::OW);
    for (int item = threadIdx.x; item < Tile::channel_blocks * G::OH * Tile::groups; item += kThreads) {
      const int group = item % Tile::groups, oh = item / Tile::groups % G::OH,
                co = item / Tile::groups / G::OH * RC;
      T sum[P][RC] = {};
#pragma unroll 1
      for (int ci = 0; ci < G::CI; ++ci)
#pragma unroll
        for (int kh = 0; kh < G::KH; ++kh) {
          alignas(16) T in[Tile::loads * Tile::V];
          const T* from = xs + (ci * Tile::HP + oh * G::SH + kh * G::DH) * Tile::WP + group * P * G::SW;
#pragma unroll
          for (int l = 0; l < Tile::loads; ++l)
            *reinterpret_cast<Vector<T, Tile::V>*>(in + l * Tile::V) =
                *reinterpret_cast<const Vector<T, Tile::V>*>(from + l * Tile::V);
          const T* taps = ws + (ci * G::KH + kh) * G::KW * Tile::CP + co;
#pragma unroll
          for (int kw = 0; kw < G::KW; ++kw) {
            alignas(16) T w[RC];
#pragma unroll
            for (int c = 0; c < RC; c += Tile::WV)
              *reinterpret_cast<Vector<T, Tile::WV>*>(w + c) =
                  *reinterpret_cast<const Vector<T, Tile::WV>*>(taps + kw * Tile::CP + c);
#pragma unroll
            for (int p = 0; p < P; ++p)
#pragma unroll
              for (int c = 0; c < RC; ++c)
                sum[p][c] = fused_multiply_add(in[p * G::SW + kw * G::DW], w[c], sum[p][c]);
          }
        }
#pragma unroll
      for (int c = 0; c < RC; ++c)
        if (co + c < G::CO)
#pragma unroll
          for (int p = 0; p < P; ++p)
            if (group * P + p < G::OW) {
              T value = sum[p][c];
              if (BIAS) value += bias[co + c];
              to[((co + c) * G::OH + oh) * G::OW + group * P + p] = RELU && value < T(0) ? T(0) : value;
            }
    }
    __syncthreads();
  }
}
template <class T, class G, int P, int RC, bool TRANSPOSED, bool BIAS, bool RELU>
__device__ void conv2d_samples(Lane lane, const T* x, const T* weight, T* y, char* workspace) {
  conv2d_samples<T, G, P, RC, TRANSPOSED, BIAS, RELU>(lane, x, weight, nullptr, y, workspace);
}

/// dx [CI, H, W] of g [CO, OH, OW] for any stride. Pixels of one class, the remainders of h + PH and w + PW by the
/// stride, meet the same taps; a warp's pixels are of one class, so that it skips the other taps together. Shared
/// memory: weight as [CO][KH][KW][CP] and g.
template <class T, class G, int RC>
__device__ void conv2d_dx_samples(Lane lane, const T* g, const T* weight, T* dx, char*) {
  constexpr int blocks = (G::CI + RC - 1) / RC, CP = (blocks * RC + 3) / 4 * 4, taps = G::KH * G::KW;
  constexpr int WV = largest_power(RC);
  constexpr int rows = (G::H + G::SH - 1) / G::SH, columns = (G::W + G::SW - 1) / G::SW;
  constexpr int cells = (rows * columns + 31) / 32 * 32, classes = G::SH * G::SW;
  T* ws = reinterpret_cast<T*>(lane.shared);
  T* gs = ws + G::CO * taps * CP;
  for (int e = threadIdx.x; e < G::CO * taps * CP; e += kThreads) {
    const int ci = e % CP, tap = e / CP % taps, co = e / CP / taps;
    ws[e] = ci < G::CI ? weight[(co * G::CI + ci) * taps + tap] : T(0);
  }
  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    constexpr int size = G::CO * G::OH * G::OW;
    for (int e = threadIdx.x; e < size; e += kThreads) gs[e] = g[n * size + e];
    __syncthreads();
    T* to = dx + n * (G::CI * G::H * G::W);
    for (int item = threadIdx.x; item < blocks * classes * cells; item += kThreads) {
      const int cell = item % cells, kind = item / cells % classes, ci = item / cells / classes * RC;
      const int h = cell / columns * G::SH + kind / G::SW, w = cell % columns * G::SW + kind % G::SW;
      if (cell >= rows * columns || h >= G::H || w >= G::W) continue;
      T sum[RC] = {};
#pragma unroll 1
      for (int co = 0; co < G::CO; ++co)
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
            const T* from = ws + (co * taps + kh * G::KW + kw) * CP + ci;
            alignas(16) T tap[RC];
#pragma unroll
            for (int c = 0; c < RC; c += WV)
              *reinterpret_cast<Vector<T, WV>*>(tap + c) = *reinterpret_cast<const Vector<T, WV>*>(from + c);
#pragma unroll
            for (int c = 0; c < RC; ++c) sum[c] = fused_multiply_add(value, tap[c], sum[c]);
          }
        }
#pragma unroll
      for (int c = 0; c < RC; ++c)
        if (ci + c < G::CI) to[((ci + c) * G::H + h) * G::W + w] = sum[c];
    }
    __syncthreads();
  }
}

/// Partial sums of dw over a block's samples, to the workspace as [chunk][CO * CI * KH * KW]. A thread has RC output
/// channels of one input channel and kernel row, and every PARTS-th row of pixels. Shared memory: the padded sample and
/// its g, or the threads' sums, whichever is larger.
template <class T, class G, int RC, int PARTS>
__device__ void conv2d_dw_samples(Lane lane, const T* x, const T* g, T*, char* workspace) {
  constexpr int HP = (G::OH - 1) * G::SH + (G::KH - 1) * G::DH + 1;
  constexpr int WP = ((G::OW - 1) * G::SW + (G::KW - 1) * G::DW + 1) | 1;  // odd: rows start in different banks
  constexpr int blocks = (G::CO + RC - 1) / RC, items = blocks * G::CI * G::KH;
  constexpr int waves = (items * PARTS + kThreads - 1) / kThreads;
  constexpr int outputs = G::CO * G::CI * G::KH * G::KW;
  T* xs = reinterpret_cast<T*>(lane.shared);
  T* gs = xs + G::CI * HP * WP;
  T sum[waves][RC][G::KW] = {};
  const Range samples = rows_of<G::BATCH>(lane);
  for (int64_t n = samples.begin; n < samples.end; ++n) {
    constexpr int size = G::CO * G::OH * G::OW;
    load_padded<T, G, HP, WP>(x + n * (G::CI * G::H * G::W), xs);
    for (int e = threadIdx.x; e < size; e += kThreads) gs[e] = g[n * size + e];
    __syncthreads();
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
  T* to = reinterpret_cast<T*>(workspace) + lane.chunk * outputs;
  for (int e = threadIdx.x; e < outputs; e += kThreads) {
    T total = parts[e];
    for (int part = 1; part < PARTS; ++part) total += parts[part * outputs + e];
    to[e] = total;
  }
}

/// Adds up the CHUNKS partial sums of every element, in order: a block has 32 elements, a warp a run of chunks.
template <class T, int OUTPUTS, int CHUNKS>
__device__ void conv2d_dw_join(Lane lane, const T*, const T*, T* dw, char* workspace) {
  constexpr int run = (CHUNKS + kWarps - 1) / kWarps;
  const int warp = threadIdx.x / 32, e = lane.chunk * 32 + threadIdx.x % 32;
  T* sums = reinterpret_cast<T*>(lane.shared);  // [kWarps][32]
  const T* partial = reinterpret_cast<const T*>(workspace);
  T total = T(0);
  if (e < OUTPUTS) {
#pragma unroll
    for (int i = 0; i < run; ++i)
      if (warp * run + i < CHUNKS) total += partial[int64_t(warp * run + i) * OUTPUTS + e];
  }
  sums[threadIdx.x] = total;
  __syncthreads();
  if (warp == 0 && e < OUTPUTS) {
    for (int w = 1; w < kWarps; ++w) total += sums[w * 32 + threadIdx.x];
    dw[e] = total;
  }
}

// On tensor cores: a convolution is the product of the weight [CO, CI KH KW] with the patches [CI KH KW, pixels], the
// gradient of the weight that of g [CO, pixels] with the patches turned over, and neither is ever laid out.

/// Where a kernel's taps lie: offset in a sample, and number, of element k of a patch.
template <class G>
struct Tap {
  int offset, index, h, w;
  __device__ explicit Tap(int k) {
    index = k % (G::KH * G::KW);
    h = index / G::KW * G::DH, w = index % G::KW * G::DW;
    offset = (k / (G::KH * G::KW) * G::H + h) * G::W + w;
  }
};

/// Patches as the second operand, pixels along the side: a thread keeps to one pixel.
template <int WIDTH, class G>
struct PatchOperand {
  using Walk = TensorWalk<WIDTH, false>;
  static constexpr int K = G::CI * G::KH * G::KW, S = G::OH * G::OW;
  const float* sample;
  uint32_t inside = 0;  // bit t: tap t is within the sample
  const int2* taps;     // [K] of shared memory: offset and number
  float next[Walk::L];

  __device__ PatchOperand(const float* x, int64_t first, int2* table) : taps(table) {
    for (int k = threadIdx.x; k < K; k += kThreads) {
      const Tap<G> tap(k);
      table[k] = make_int2(tap.offset, tap.index);
    }
    const int64_t pixel = first + threadIdx.x % WIDTH;
    const int n = pixel / S, h = pixel % S / G::OW * G::SH - G::PH, w = pixel % G::OW * G::SW - G::PW;
    sample = x + int64_t(n) * (G::CI * G::H * G::W) + (h * G::W + w);
    if (n < G::BATCH)
#pragma unroll
      for (int t = 0; t < G::KH * G::KW; ++t) {
        const int y = h + t / G::KW * G::DH, z = w + t % G::KW * G::DW;
        if (y >= 0 && y < G::H && z >= 0 && z < G::W) inside |= 1u << t;
      }
    __syncthreads();
  }
  __device__ void fetch(int64_t k0, int64_t end) {
#pragma unroll
    for (int l = 0; l < Walk::L; ++l) {
      const int k = int(k0) + Walk::k_of(l);
      next[l] = 0;
      if (k < end) {
        const int2 tap = taps[k];
        if (inside >> tap.y & 1) next[l] = sample[tap.x];
      }
    }
  }
  __device__ void place(uint32_t* shared) const { Walk::place(next, shared); }
};

/// The same with pixels along the sum.
template <int WIDTH, class G>
struct TurnedPatchOperand {
  using Walk = TensorWalk<WIDTH, true>;
  static constexpr int J = G::CI * G::KH * G::KW, S = G::OH * G::OW;
  const float* x;
  int64_t first;
  float next[Walk::L];
  __device__ void fetch(int64_t k0, int64_t end) {
#pragma unroll
    for (int l = 0; l < Walk::L; ++l) {
      const int64_t pixel = k0 + Walk::k_of(l);
      const int j = int(first) + Walk::i_of(l);
      const Tap<G> tap(j);
      const int h = int(pixel % S) / G::OW * G::SH - G::PH, w = int(pixel % S) % G::OW * G::SW - G::PW;
      const int y = h + tap.h, z = w + tap.w;
      const bool inside = pixel < end && j < J && y >= 0 && y < G::H && z >= 0 && z < G::W;
      next[l] = inside ? x[pixel / S * (G::CI * G::H * G::W) + (h * G::W + w) + tap.offset] : 0.0f;
    }
  }
  __device__ void place(uint32_t* shared) const { Walk::place(next, shared); }
};

/// weight [CI, CO, KH, KW] turned by half a turn, as [CO, CI KH KW].
template <class G>
struct TurnedWeightAddress {
  __device__ static int64_t at(int64_t k, int64_t co) {
    constexpr int taps = G::KH * G::KW;
    const int ci = int(k) / taps, tap = int(k) % taps;
    return (ci * G::CO + co) * taps + taps - 1 - tap;
  }
};
/// g [BATCH, CO, OH, OW] by pixel of the batch and channel.
template <class G>
struct GradientAddress {
  __device__ static int64_t at(int64_t pixel, int64_t co) {
    constexpr int S = G::OH * G::OW;
    return (pixel / S * G::CO + co) * S + pixel % S;
  }
};

/// Shared memory: Tile::shared_words words and CI KH KW taps.
template <class Tile, class G, bool TRANSPOSED, bool BIAS, bool RELU>
__device__ void conv2d_tensor(Lane lane, const float* x, const float* weight, const float* bias, float* y, char*) {
  constexpr int64_t K = G::CI * G::KH * G::KW, S = G::OH * G::OW, pixels = G::BATCH * S;
  constexpr int64_t tiles_m = (G::CO + Tile::TM - 1) / Tile::TM;
  const int64_t m0 = lane.chunk % tiles_m * Tile::TM, n0 = lane.chunk / tiles_m * Tile::TN;
  using Address = type_if<TRANSPOSED, TurnedWeightAddress<G>, MatrixAddress<1, K>>;
  using A = AddressedOperand<Tile::TM, G::CO, true, Address>;
  uint32_t* shared = reinterpret_cast<uint32_t*>(lane.shared);
  A a{weight, m0};
  PatchOperand<Tile::TN, G> b(x, n0, reinterpret_cast<int2*>(shared + Tile::shared_words));
  TensorProduct<Tile, A, PatchOperand<Tile::TN, G>> product;
  product.run(a, b, 0, K, shared);
  product.store([&](int m, int n, float value) {
    const int64_t co = m0 + m, pixel = n0 + n;
    if (co >= G::CO || pixel >= pixels) return;
    if (BIAS) value += bias[co];
    y[(pixel / S * G::CO + co) * S + pixel % S] = RELU && value < 0 ? 0.0f : value;
  });
}
template <class Tile, class G, bool TRANSPOSED, bool BIAS, bool RELU>
__device__ void conv2d_tensor(Lane lane, const float* x, const float* weight, float* y, char* workspace) {
  conv2d_tensor<Tile, G, TRANSPOSED, BIAS, RELU>(lane, x, weight, nullptr, y, workspace);
}

/// Part of the pixels' sum of dw [CO, CI KH KW], to the workspace as [SPLITS][CO][CI KH KW], or to dw if there is one.
template <class Tile, class G, int SPLITS>
__device__ void conv2d_dw_tensor(Lane lane, const float* x, const float* g, float* dw, char* workspace) {
  constexpr int64_t J = G::CI * G::KH * G::KW, pixels = int64_t(G::BATCH) * G::OH * G::OW;
  constexpr int64_t tiles_m = (G::CO + Tile::TM - 1) / Tile::TM, tiles = tiles_m * ((J + Tile::TN - 1) / Tile::TN);
  constexpr int64_t depth = ((pixels + SPLITS - 1) / SPLITS + Tile::TK - 1) / Tile::TK * Tile::TK;
  const int64_t split = lane.chunk / tiles, tile = lane.chunk % tiles;
  const int64_t m0 = tile % tiles_m * Tile::TM, n0 = tile / tiles_m * Tile::TN;
  using A = AddressedOperand<Tile::TM, G::CO, true, GradientAddress<G>>;
  using B = TurnedPatchOperand<Tile::TN, G>;
  A a{g, m0};
  B b{x, n0};
  TensorProduct<Tile, A, B> product;
  const int64_t begin = split * depth, end = begin + depth < pixels ? begin + depth : pixels;
  product.run(a, b, begin, end, reinterpret_cast<uint32_t*>(lane.shared));
  float* out = SPLITS == 1 ? dw : reinterpret_cast<float*>(workspace) + split * (G::CO * J);
  product.store([&](int m, int n, float value) {
    if (m0 + m < G::CO && n0 + n < J) out[(m0 + m) * J + n0 + n] = value;
  });
}

// Plain kernels for every convolution: a thread an element of the result.
template <class T, class G, int GROUPS, bool BIAS, bool RELU>
__device__ void conv2d_plain(Lane lane, const T* x, const T* weight, const T* bias, T* y, char*) {
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
  if (BIAS) total += bias[co];
  y[at] = RELU && total < T(0) ? T(0) : total;
}
template <class T, class G, int GROUPS, bool BIAS, bool RELU>
__device__ void conv2d_plain(Lane lane, const T* x, const T* weight, T* y, char* workspace) {
  conv2d_plain<T, G, GROUPS, BIAS, RELU>(lane, x, weight, nullptr, y, workspace);
}

template <class T, class G, int GROUPS>
__device__ void conv2d_dx_plain(Lane lane, const T* g, const T* weight, T* dx, char*) {
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
  dx[at] = total;
}

/// A block an element of dw.
template <class T, class G, int GROUPS>
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
                                 g[((n * G::CO + co) * G::OH + oh) * G::OW + ow], total);
  }
  total = block_sum(total, lane.shared);
  if (threadIdx.x == 0) dw[at] = total;
}
