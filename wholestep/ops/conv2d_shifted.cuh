// Convolutions of stride 1, and their gradients by the input, on tensor cores, in TF32. The pixels that a tile reads lie in
// shared memory as in memory, a channel after the other, row by row with zeros in front. Output o of that numbering reads
// pixel o + row * pitch + column for a tap, so the operand of a tap is the same words, some further on; and what one row of
// the kernel has read from a row of pixels, the next reads for the row of outputs in front.
#pragma once
#include "conv2d.cuh"
#include "warpgroup.cuh"

/// A tile is groups of 64 outputs: of ROWS rows each where a row holds 64, 128 or 256 of them, else as they are numbered.
template <class G, int ROWS>
struct ShiftedOutputs {
  static constexpr int groups = kThreads / 128, unit = G::W % 4 == 0 ? 4 : 1;  // words that are copied at once
  static constexpr int left = (G::PW + unit - 1) / unit * unit, pitch = left + G::W, last = (G::OH - 1) * pitch + G::OW;
  static constexpr int row_groups = G::OW % 64 == 0 && groups % (G::OW / 64) == 0 ? G::OW / 64 : 0;
  static constexpr int step = row_groups > 0 ? groups / row_groups * ROWS * pitch : groups * 64;  // from tile to tile
  static constexpr int tiles = (last + step - 1) / step;                                          // of a sample
  static_assert(row_groups > 0 || ROWS == 1);
  __device__ static constexpr int first_of(int group) {
    return row_groups > 0 ? group / row_groups * ROWS * pitch + group % row_groups * 64 : group * 64;
  }
  static constexpr int taps_read = (G::KH - 1) * pitch + G::KW - 1 + left - G::PW;
  static constexpr int window = ((row_groups > 0 ? step - pitch + G::OW : step) + taps_read + unit - 1) / unit * unit;
  static constexpr int channel = with_rest(window, 8, 32);  // so that four channels' pixels lie in 32 banks
};

/// The pixels that a tile reads in 8 input channels, on their way to shared memory, [8][channel]: a thread's pieces.
template <class G, int ROWS>
struct ShiftedWindow {
  using Outputs = ShiftedOutputs<G, ROWS>;
  static constexpr int unit = Outputs::unit, units = Outputs::channel / unit, pieces = 8 * units;
  static constexpr int own = (pieces + kThreads - 1) / kThreads, bytes = 8 * Outputs::channel * 4;
  static constexpr int nowhere = 1 << 14;  // a row below all that are
  static_assert(G::H + Outputs::window / Outputs::pitch < nowhere);
  SharedAddress to;
  unsigned rows[(own + 1) / 2];  // from that of the tile on, two of 16 bits in a word
  int from[own];                 // from there on

  __device__ explicit ShiftedWindow(const void* shared) : to(shared_address(shared) + threadIdx.x * (unit * 4)) {
    place(0);
    asm volatile("" : "+r"(to));  // kept in registers, not made again for each window
#pragma unroll
    for (int u = 0; u < own; ++u) asm volatile("" : "+r"(from[u]));
  }
  /// For tiles that begin in column `into` of a row.
  __device__ void place(int into) {
#pragma unroll
    for (int u = 0; u < own; ++u) {
      const int e = u * kThreads + threadIdx.x, at = into + e % units * unit;
      const int row = at / Outputs::pitch - G::PH, column = at % Outputs::pitch - Outputs::left;
      const bool nothing = column < 0 || e % units * unit >= Outputs::window;
      const unsigned half = (nothing ? nowhere : row) & 0xffff;
      rows[u / 2] = u % 2 == 0 ? half : rows[u / 2] | half << 16;
      from[u] = nothing ? 0 : e / units * (G::H * G::W) + row * G::W + column;
    }
  }
  /// Of channels from `ci` on, to one of two windows.
  __device__ void copy(const float* x, int tile, int ci, int window) {
    const int o = tile % Outputs::tiles * Outputs::step, row = o / Outputs::pitch;
    if (Outputs::row_groups == 0 && ci == 0) place(o % Outputs::pitch);
    const float* of_tile = x + (int64_t(tile / Outputs::tiles) * G::CI + ci) * (G::H * G::W) + row * G::W;
#pragma unroll
    for (int u = 0; u < own; ++u) {
      const int e = u * kThreads + threadIdx.x, own_row = row + short(rows[u / 2] >> u % 2 * 16);
      const bool inside = unsigned(own_row) < G::H && (G::CI % 8 == 0 || ci + e / units < G::CI);
      if (pieces % kThreads == 0 || e < pieces)
        copy_unit<unit * 4>(to + window * bytes + u * (kThreads * unit * 4), global_address(of_tile + from[u]),
                            inside ? unit * 4 : 0);
    }
  }
};

/// The weight [CO, CI, KH, KW], or where TURNED that of the convolution whose gradient by the input this one is, to shared
/// memory, rounded: [KH KW][CI / K][N], rows of K.
template <class G, int K, int N, bool TURNED>
__device__ void place_shifted_weight(const float* weight, char* to) {
  using Rows = SwizzledRows<K>;
  constexpr int taps = G::KH * G::KW, blocks = (G::CI + K - 1) / K, tap_bytes = blocks * N * Rows::bytes;
  if (N != G::CO || blocks * K != G::CI) {
    for (int at = threadIdx.x * 16; at < taps * tap_bytes; at += kThreads * 16)
      *reinterpret_cast<Vector<uint32_t, 4>*>(to + at) = {};
    __syncthreads();
  }
#pragma unroll 4
  for (int pair = threadIdx.x; pair < G::CO * G::CI; pair += kThreads) {
    constexpr int inner = TURNED ? G::CO : G::CI;
    const int co = TURNED ? pair % inner : pair / inner, ci = TURNED ? pair / inner : pair % inner;
    char* const own = to + Rows::piece(ci / K * N + co, ci % K / 4) + ci % 4 * 4;
    float of_taps[taps];
#pragma unroll
    for (int tap = 0; tap < taps; ++tap) of_taps[tap] = weight[pair * taps + (TURNED ? taps - 1 - tap : tap)];
#pragma unroll
    for (int tap = 0; tap < taps; ++tap) *reinterpret_cast<uint32_t*>(own + tap * tap_bytes) = to_tf32(of_taps[tap]);
  }
  show_to_tensor_cores();
}

/// sum += what 8 input channels give a warpgroup's outputs: `from` are the first channel's pixels, below the kernel's first
/// tap, `weight` is the operand of that tap. A row of pixels, as it lies below a column of the kernel, is multiplied for all
/// of the kernel's rows, for one row of outputs each; the next is rounded by then, and the one behind it on its way. Calls
/// meanwhile() once the first are being multiplied.
template <class G, int ROWS, int N, int TAP_BYTES, class Meanwhile>
__device__ void add_shifted_products(float (&sum)[ROWS][N / 8][4], const uint32_t* from, uint64_t weight,
                                     Meanwhile meanwhile) {
  using Outputs = ShiftedOutputs<G, ROWS>;
  constexpr int pixel_rows = ROWS + G::KH - 1, fragments = pixel_rows * G::KW;
  uint32_t words[2][4], pixels[2][4];
  auto load = [&](int fragment) {
    const int at = fragment % pixel_rows * Outputs::pitch + fragment / pixel_rows;
#pragma unroll
    for (int r = 0; r < 4; ++r) words[fragment % 2][r] = from[at + r / 2 * 4 * Outputs::channel + r % 2 * 8];
  };
  auto round = [&](int fragment) {
#pragma unroll
    for (int r = 0; r < 4; ++r) pixels[fragment % 2][r] = read_tf32(words[fragment % 2][r]);
  };
#pragma unroll
  for (int j = 0; j < ROWS; ++j) keep_in_registers(sum[j]);
  load(0);
  if (fragments > 1) load(1);
  round(0);
#pragma unroll
  for (int fragment = 0; fragment < fragments; ++fragment) {
    const int row = fragment % pixel_rows, kx = fragment / pixel_rows;
    begin_warpgroup_products();
#pragma unroll
    for (int ky = 0; ky < G::KH; ++ky)
      if (row >= ky && row - ky < ROWS)
        multiply_warpgroup<N>(sum[row - ky], pixels[fragment % 2], weight + (ky * G::KW + kx) * (TAP_BYTES / 16));
    end_warpgroup_products();
    if (fragment == 0) meanwhile();
    if (fragment + 2 < fragments) load(fragment + 2);
    if (fragment + 1 < fragments) {
      wait_for_warpgroup_products<1>();
      round(fragment + 1);
    }
  }
  wait_for_warpgroup_products();
}

/// A block has PER tiles and all N >= CO output channels. The weight stays in shared memory; pixels go through two windows.
/// Returns, with SQUARED, the sum of squares of what the thread makes.
template <class G, int K, int N, int ROWS, int PER, bool TURNED, int THIRD, bool RELU, bool SQUARED>
__device__ double shifted_outputs(Lane lane, const float* x, const float* weight, const float* third, float* y) {
  using Rows = SwizzledRows<K>;
  using Outputs = ShiftedOutputs<G, ROWS>;
  using Window = ShiftedWindow<G, ROWS>;
  constexpr int slices = (G::CI + 7) / 8, tap_bytes = (G::CI + K - 1) / K * N * Rows::bytes;
  constexpr int tiles = G::BATCH * Outputs::tiles;
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0), group = warp / 4;
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  char* const weights = lane.shared + (-__cvta_generic_to_shared(lane.shared) & 1023);
  char* const windows = weights + G::KH * G::KW * tap_bytes;
  const int own_first = Outputs::first_of(group) + warp % 4 * 16 + g;  // output of a tile
  const int first = int(lane.chunk) * PER;
  Window window(windows);
  window.copy(x, first, 0, 0);
  place_shifted_weight<G, K, N, TURNED>(weight, weights);

  double squares = 0;
  float sum[ROWS][N / 8][4];
#pragma unroll 1
  for (int turn = 0; turn < PER; ++turn) {
    const int tile = first + turn;
    if (tile >= tiles) break;
    const int n = tile / Outputs::tiles, o = tile % Outputs::tiles * Outputs::step;
#pragma unroll
    for (int e = 0; e < N / 2; ++e) {
      const int co = e / 4 * 8 + t * 2 + e % 2;
      const float start = THIRD == kBias && (N == G::CO || co < G::CO) ? third[co] : 0;
#pragma unroll
      for (int j = 0; j < ROWS; ++j) sum[j][e / 4][e % 4] = start;
    }
    if (THIRD == kMask && Outputs::row_groups > 0) {  // while the products are made
      constexpr int lines = (Outputs::step / Outputs::pitch * G::OW + 31) / 32;  // of 128 bytes, in a channel
      for (int e = threadIdx.x; e < G::CO * lines; e += kThreads)
        if (const int at = o / Outputs::pitch * G::OW + e % lines * 32; at < G::OH * G::OW)
          bring_to_cache(third + (int64_t(n) * G::CO + e / lines) * (G::OH * G::OW) + at);
    }
#pragma unroll 1
    for (int slice = 0; slice < slices; ++slice) {
      const int item = turn * slices + slice;
      wait_for_all_copies();
      __syncthreads();
      const uint32_t* pixels = reinterpret_cast<const uint32_t*>(windows + item % 2 * Window::bytes) +
                               t * Outputs::channel + own_first + Outputs::left - G::PW;
      const uint64_t of_slice = Rows::operand(uint32_t(__cvta_generic_to_shared(weights)) +
                                              slice / (K / 8) * (N * Rows::bytes) + slice % (K / 8) * 32);
      add_shifted_products<G, ROWS, N, tap_bytes>(sum, pixels, of_slice, [&] {
        const bool last = slice == slices - 1;
        if (!last || (turn + 1 < PER && tile + 1 < tiles))
          window.copy(x, first + (item + 1) / slices, (item + 1) % slices * 8, (item + 1) % 2);
      });
    }

    // Calls fn(value, its place in y) for what this thread has of a row of the tile.
    auto each = [&](int j, auto fn) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int output = o + own_first + j * Outputs::pitch + half * 8;
        const int row = output / Outputs::pitch, column = output % Outputs::pitch;
        if (row >= G::OH || column >= G::OW) continue;
        const int64_t to = int64_t(n) * (G::CO * G::OH * G::OW) + row * G::OW + column;
#pragma unroll
        for (int e = 0; e < N / 4; ++e)
          if (const int co = e / 2 * 8 + t * 2 + e % 2; N == G::CO || co < G::CO)
            fn(half * (N / 4) + e, to + co * (G::OH * G::OW));
      }
    };
    constexpr int together = ROWS % 2 == 0 ? 2 : 1;  // rows whose masks are on their way
    float of_mask[together][N / 2];
#pragma unroll
    for (int j = 0; j < ROWS; ++j) {
      if (THIRD == kMask && j % together == 0)
#pragma unroll
        for (int k = 0; k < together; ++k) each(j + k, [&](int v, int64_t at) { of_mask[k][v] = third[at]; });
      each(j, [&](int v, int64_t at) {
        float value = masked<THIRD>(sum[j][v % (N / 4) / 2][v / (N / 4) * 2 + v % 2], of_mask[j % together], v);
        value = RELU && value < 0 ? 0 : value;
        y[at] = value;
        if (SQUARED) squares += double(value) * double(value);
      });
    }
  }
  return squares;
}
template <class G, int K, int N, int ROWS, int PER, bool TURNED, int THIRD, bool RELU>
__device__ void conv2d_shifted(Lane lane, const float* x, const float* weight, const float* third, float* y, char*) {
  shifted_outputs<G, K, N, ROWS, PER, TURNED, THIRD, RELU, false>(lane, x, weight, third, y);
}
template <class G, int K, int N, int ROWS, int PER, bool TURNED, int THIRD, bool RELU>
__device__ void conv2d_shifted(Lane lane, const float* x, const float* weight, float* y, char*) {
  shifted_outputs<G, K, N, ROWS, PER, TURNED, THIRD, RELU, false>(lane, x, weight, nullptr, y);
}
template <class G, int K, int N, int ROWS, int PER, bool TURNED, int THIRD, bool RELU>
__device__ void conv2d_shifted(Lane lane, const float* x, const float* weight, const float* third, float* y,
                               double* squares, char*) {
  const double own = shifted_outputs<G, K, N, ROWS, PER, TURNED, THIRD, RELU, true>(lane, x, weight, third, y);
  __syncthreads();  // nobody reads a window any more
  store_sum(lane, own, squares + lane.chunk);
}
template <class G, int K, int N, int ROWS, int PER, bool TURNED, int THIRD, bool RELU>
__device__ void conv2d_shifted(Lane lane, const float* x, const float* weight, float* y, double* squares, char*) {
  conv2d_shifted<G, K, N, ROWS, PER, TURNED, THIRD, RELU>(lane, x, weight, nullptr, y, squares, nullptr);
}

/// Of P rows of CHANNELS, PIECES of 4 pixels each, the piece that a thread has in a round.
template <int P, int CHANNELS, int PIECES>
struct OwnPiece {
  static constexpr int count = P * CHANNELS * PIECES, rounds = (count + kThreads - 1) / kThreads;
  int row, channel, piece;
  bool exists;
  __device__ explicit OwnPiece(int round) {
    const int e = round * kThreads + threadIdx.x;
    row = e / PIECES / CHANNELS, channel = e / PIECES % CHANNELS, piece = e % PIECES;
    exists = count % kThreads == 0 || e < count;
  }
};

/// Part of the pixels' sum of dw [CO, CI, KH, KW], and with BIAS of db [CO], the sum of the gradient, to the workspace as
/// [parts] of [CO][CI KH KW] and [CO], or to dw and db if there is one: of PER turns of P rows of the output. These lie in
/// shared memory one below the other, as the 64 rows of an operand, beside the rows of the input that they meet, each as
/// often as the kernel has columns, one pixel further on every time, so that all products read pixels side by side. A row of
/// the input is multiplied with all P at once, and is below another row of the kernel for each. C >= CI, 64 / P >= CO:
/// nobody asks for the products of channels beyond, whatever lies there.
template <class G, int C, int P, int PER, bool BIAS>
__device__ void conv2d_dw_shifted_parts(Lane lane, const float* x, const float* gradient, float* dw, float* db,
                                        char* workspace) {
  using Rows = SwizzledRows<32>;
  constexpr int taps = G::KH * G::KW, J = G::CI * taps, N = G::KW * C, M = 64, channels = M / P;
  constexpr int parts_of_row = (G::OW + 31) / 32, pieces = parts_of_row * 8;
  constexpr int turns = G::OH / P, ahead = (G::KH - 1 + P - 1) / P;  // of a sample, and whose rows of x its first needs, too
  constexpr int slots = (ahead + 2) * P, x_row = N * Rows::bytes, x_part = slots * x_row;
  constexpr int g_part = M * Rows::bytes, g_bytes = parts_of_row * g_part;
  // Rows of the input that one product takes: two where there are more than warpgroups, and none has them at both ends of the
  // ring.
  constexpr int groups = kThreads / 128, x_rows = P + G::KH - 1;
  constexpr int at_once = x_rows > groups && x_rows % 2 == 0 && P % 2 == 0 && N * 2 <= 96 ? 2 : 1;
  constexpr int units = x_rows / at_once, own_units = (units + groups - 1) / groups;
  static_assert(G::CO <= channels && channels >= 16 && G::CI <= C && C % 8 == 0 && G::OW % 4 == 0 && G::OH % P == 0);
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0), g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int group = warp / 4;
  char* const xs = lane.shared + (-shared_address(lane.shared) & 1023);  // a ring, [parts_of_row][slots][KW][C]
  char* const gs = xs + parts_of_row * x_part;                           // [2][parts_of_row][P][channels]

  // Where each thread's pieces come from and go to. Where a warp has whole rows, neighbours have the pixels beside a piece.
  using OfX = OwnPiece<P, G::CI, pieces>;
  using OfG = OwnPiece<P, G::CO, pieces>;
  constexpr bool neighbours = G::W == G::OW && G::PW == 1 && G::KW == 3 && 32 % pieces == 0;
  constexpr int own_x = OfX::rounds, own_g = OfG::rounds, x_words = neighbours ? 4 : 3 + G::KW;
  int x_from[own_x], x_to[own_x], x_row_of[own_x], g_from[own_g], g_to[own_g];
#pragma unroll
  for (int u = 0; u < own_x; ++u) {
    const OfX own(u);
    x_row_of[u] = own.exists && own.piece * 4 < G::OW ? own.row : 1 << 30;  // below all that are
    x_from[u] = own.channel * (G::H * G::W) + own.row * G::W + own.piece * 4 - (neighbours ? 0 : G::PW);
    x_to[u] = own.row * x_row + own.piece / 8 * x_part + Rows::piece(own.channel, own.piece % 8);
  }
#pragma unroll
  for (int u = 0; u < own_g; ++u) {
    const OfG own(u);
    g_from[u] = own.channel * (G::OH * G::OW) + own.row * G::OW + own.piece * 4;
    g_to[u] = own.piece / 8 * g_part + Rows::piece(own.row * channels + own.channel, own.piece % 8);
  }
  float of_bias[own_g] = {}, sum[own_units][at_once * N / 8][4] = {};

  constexpr bool one_sample = turns % PER == 0;
  const int first = int(lane.chunk) * PER;
  const int last = one_sample || first + PER < G::BATCH * turns ? first + PER : G::BATCH * turns;
#pragma unroll 1
  for (int turn = first, steps; turn < last; turn += steps) {  // those of a sample together
    const int n = turn / turns, at = turn % turns, left = last - turn < turns - at ? last - turn : turns - at;
    steps = one_sample ? PER : left;

    // A turn's rows come through registers while the turn before is multiplied; in front of the first, only rows of x.
    struct Staged {
      float x[own_x][x_words], g[own_g][4];
    };
    int row = (at - ahead) * P + G::KH - 1 - G::PH;
    const float* of_x = x + int64_t(n) * (G::CI * G::H * G::W) + row * G::W;
    const float* of_g = gradient + int64_t(n) * (G::CO * G::OH * G::OW) + at * P * G::OW;
    auto load = [&](Staged& to, bool wanted, bool with_g) {
#pragma unroll
      for (int u = 0; u < own_x; ++u) {
        const bool inside = wanted && unsigned(row + x_row_of[u]) < G::H;
        for (float& word : to.x[u]) word = 0;
        if constexpr (neighbours) {
          load_valid(inside, of_x + x_from[u], to.x[u]);
        } else {
#pragma unroll
          for (int v = 0; v < x_words; ++v) {
            const unsigned column = OfX(u).piece * 4 - G::PW + v;
            to.x[u][v] = load_if<1>(inside && column < G::W, of_x + x_from[u] + v).at[0];
          }
        }
      }
      row += P;
      of_x += P * G::W;
      if (!with_g) return;
#pragma unroll
      for (int u = 0; u < own_g; ++u) {
        const OfG own(u);
        for (float& word : to.g[u]) word = 0;
        load_valid(wanted && own.exists && own.piece * 4 < G::OW, of_g + g_from[u], to.g[u]);
      }
      of_g += P * G::OW;
    };
    auto store = [&](const Staged& from, int in_xs, int in_gs) {
      // As to_tf32(), but looks for NaNs in all numbers together.
      uint32_t tf32_x[own_x][x_words], tf32_g[own_g][4];
      bool unordered = false;
#pragma unroll
      for (int e = 0; e < own_x * x_words; ++e) {
        const float value = from.x[e / x_words][e % x_words], before = from.x[(e - e % 2) / x_words][(e - e % 2) % x_words];
        tf32_x[e / x_words][e % x_words] = __float_as_uint(value) + 0x1000;
        if (e % 2 == 1 || e + 1 == own_x * x_words) unordered |= value != value || before != before;
      }
#pragma unroll
      for (int u = 0; u < own_g; ++u) {
        const auto& four = from.g[u];
        const float total = (four[0] + four[1]) + (four[2] + four[3]);
        if (BIAS) of_bias[u] += total;
        unordered |= total != total;
#pragma unroll
        for (int v = 0; v < 4; ++v) tf32_g[u][v] = __float_as_uint(four[v]) + 0x1000;
      }
      if (unordered) [[unlikely]] {
#pragma unroll
        for (int e = 0; e < own_x * x_words; ++e)
          tf32_x[e / x_words][e % x_words] = to_tf32(from.x[e / x_words][e % x_words]);
#pragma unroll
        for (int e = 0; e < own_g * 4; ++e) tf32_g[e / 4][e % 4] = to_tf32(from.g[e / 4][e % 4]);
      }

#pragma unroll
      for (int u = 0; u < own_x; ++u) {
        const OfX own(u);
        uint32_t pixels[3 + G::KW];
#pragma unroll
        for (int v = 0; v < x_words; ++v) pixels[v + neighbours] = tf32_x[u][v];
        if constexpr (neighbours) {
          const uint32_t left = __shfl_up_sync(0xffffffffu, tf32_x[u][3], 1);
          const uint32_t right = __shfl_down_sync(0xffffffffu, tf32_x[u][0], 1);
          pixels[0] = own.piece == 0 ? 0 : left;
          pixels[5] = own.piece == pieces - 1 ? 0 : right;
        }
        if (own.exists)
#pragma unroll
          for (int kx = 0; kx < G::KW; ++kx)
            *reinterpret_cast<Vector<uint32_t, 4>*>(xs + in_xs + x_to[u] + kx * (C * Rows::bytes)) = {
                pixels[kx], pixels[kx + 1], pixels[kx + 2], pixels[kx + 3]};
      }
#pragma unroll
      for (int u = 0; u < own_g; ++u)
        if (OfG(u).exists)
          *reinterpret_cast<Vector<uint32_t, 4>*>(gs + in_gs + g_to[u]) = {tf32_g[u][0], tf32_g[u][1], tf32_g[u][2],
                                                                           tf32_g[u][3]};
      show_to_tensor_cores();
    };

    Staged staged[ahead + 2] = {};  // the last one is the next step's
#pragma unroll
    for (int s = 0; s < ahead + 2; ++s) load(staged[s], s <= ahead || steps > 1, s >= ahead);
#pragma unroll
    for (int s = 0; s <= ahead; ++s) store(staged[s], s * P * x_row, 0);

    SharedAddress from_xs[own_units];  // where there are more warps than units, some make one again, for nobody
#pragma unroll
    for (int i = 0; i < own_units; ++i) {
      const int unit = i * groups + group < units ? i * groups + group : units - 1;
      from_xs[i] = shared_address(xs) + (ahead * P - (G::KH - 1) + unit * at_once) * x_row;
    }
    int to_xs = (ahead + 1) * P * x_row, from_gs = 0;
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      __syncthreads();
      const uint64_t a = Rows::operand(shared_address(gs) + from_gs);
#pragma unroll
      for (int i = 0; i < own_units; ++i) keep_in_registers(sum[i]);
      begin_warpgroup_products();
#pragma unroll
      for (int i = 0; i < own_units; ++i) {
        const uint64_t b = Rows::operand(from_xs[i]);
#pragma unroll
        for (int part = 0; part < parts_of_row; ++part)
#pragma unroll
          for (int k = 0; k < 32; k += 8)
            multiply_warpgroup<at_once * N>(sum[i], a + (part * g_part + k * 4) / 16, b + (part * x_part + k * 4) / 16);
      }
      end_warpgroup_products();
      if (step + 1 < steps) {
        store(staged[ahead + 1], to_xs, from_gs ^ g_bytes);
        load(staged[ahead + 1], step + 2 < steps, true);
      }
      wait_for_warpgroup_products();
#pragma unroll
      for (int i = 0; i < own_units; ++i) {
        from_xs[i] += P * x_row;
        if (from_xs[i] >= shared_address(xs) + x_part) from_xs[i] -= x_part;
      }
      to_xs = to_xs + P * x_row == x_part ? 0 : to_xs + P * x_row;
      from_gs ^= g_bytes;
    }
    __syncthreads();  // nobody reads the rows any more
  }

  // Through shared memory, so that neighbours are stored together. There, each of the P has a place of its own.
  constexpr int pitch = J % 4 == 0 ? with_rest(J, 4, 8) : J, V = J % 4 == 0 && (G::CO % 4 == 0 || !BIAS) ? 4 : 1;
  float* const totals = reinterpret_cast<float*>(xs);   // [P][CO][pitch]
  float* const of_pieces = totals + P * G::CO * pitch;  // [P][CO][pieces + 1]
  if (BIAS)
#pragma unroll
    for (int u = 0; u < own_g; ++u)
      if (const OfG own(u); own.exists)
        of_pieces[(own.row * G::CO + own.channel) * (pieces + 1) + own.piece] = of_bias[u];
  const int p = warp % 4 * 16 / channels;
#pragma unroll
  for (int i = 0; i < own_units; ++i)
#pragma unroll
    for (int j = 0; j < at_once; ++j) {
      const int ky = (i * groups + group) * at_once + j - p;
      if (unsigned(ky) >= G::KH) continue;
#pragma unroll
      for (int e = 0; e < N / 2; ++e) {
        const int co = warp % 4 * 16 % channels + e % 4 / 2 * 8 + g, n = e / 4 * 8 + t * 2 + e % 2;
        if (co < G::CO && n % C < G::CI)
          totals[(p * G::CO + co) * pitch + n % C * taps + ky * G::KW + n / C] = sum[i][j * (N / 8) + e / 4][e % 4];
      }
    }
  __syncthreads();
  constexpr bool one = G::BATCH * turns <= PER;
  float* own_part = reinterpret_cast<float*>(workspace) + int64_t(lane.chunk) * (G::CO * J + (BIAS ? G::CO : 0));
  float* to = one ? dw : own_part;
#pragma unroll 4
  for (int e = threadIdx.x; e < G::CO * J / V; e += kThreads) {
    const float* from = totals + e / (J / V) * pitch + e % (J / V) * V;
    auto total = *reinterpret_cast<const Vector<float, V>*>(from);
#pragma unroll
    for (int q = 1; q < P; ++q) {
      const auto more = *reinterpret_cast<const Vector<float, V>*>(from + q * (G::CO * pitch));
#pragma unroll
      for (int v = 0; v < V; ++v) total.at[v] += more.at[v];
    }
    reinterpret_cast<Vector<float, V>*>(to)[e] = total;
  }
  if (BIAS && threadIdx.x < G::CO) {
    float of_channel = 0;
#pragma unroll
    for (int q = 0; q < P; ++q)
#pragma unroll
      for (int piece = 0; piece < pieces; ++piece)
        of_channel += of_pieces[(q * G::CO + threadIdx.x) * (pieces + 1) + piece];
    (one ? db : own_part + G::CO * J)[threadIdx.x] = of_channel;
  }
}
template <class G, int C, int P, int PER>
__device__ void conv2d_dw_shifted(Lane lane, const float* x, const float* gradient, float* dw, char* workspace) {
  conv2d_dw_shifted_parts<G, C, P, PER, false>(lane, x, gradient, dw, nullptr, workspace);
}
template <class G, int C, int P, int PER>
__device__ void conv2d_dw_shifted(Lane lane, const float* x, const float* gradient, float* dw, float* db, char* workspace) {
  conv2d_dw_shifted_parts<G, C, P, PER, true>(lane, x, gradient, dw, db, workspace);
}
