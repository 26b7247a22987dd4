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

/// Where a block is in its turns, of P rows of the output each: `ahead` times P rows of the input are still to come before
/// those that only this turn adds.
template <class G, int P>
struct TurnToCome {
  static constexpr int turns = G::OH / P, most_ahead = (G::KH - 1 + P - 1) / P;
  int turn, ahead;
  __device__ TurnToCome next() const {
    if (ahead > 0) return {turn, ahead - 1};
    return {turn + 1, (turn + 1) % turns == 0 ? most_ahead : 0};
  }
};

/// Part of the pixels' sum of dw [CO, CI, KH, KW], and with BIAS of db [CO], the sum of the gradient, to the workspace as
/// [parts] of [CO][CI KH KW] and [CO], or to dw and db if there is one: of PER turns of P rows of the output. These lie in
/// shared memory one below the other, as the 64 rows of an operand, beside the rows of the input that they meet, each as
/// often as the kernel has columns, one pixel further on every time, so that all products read pixels side by side. A row of
/// the input is multiplied with all P at once, and is below another row of the kernel for each. C >= CI, 64 / P >= CO.
template <class G, int C, int P, int PER, bool BIAS>
__device__ void conv2d_dw_shifted_parts(Lane lane, const float* x, const float* gradient, float* dw, float* db,
                                        char* workspace) {
  using Rows = SwizzledRows<32>;
  using Turn = TurnToCome<G, P>;
  constexpr int taps = G::KH * G::KW, J = G::CI * taps, N = G::KW * C, M = 64, channels = M / P;
  constexpr int parts_of_row = (G::OW + 31) / 32, pieces = parts_of_row * 8, slots = (Turn::most_ahead + 2) * P;
  constexpr int x_part = N * Rows::bytes, x_bytes = parts_of_row * x_part;
  constexpr int g_part = M * Rows::bytes, g_bytes = parts_of_row * g_part;
  constexpr int x_rows = P + G::KH - 1, groups = kThreads / 128, own_rows = (x_rows + groups - 1) / groups;
  static_assert(G::CO <= channels && channels >= 16 && G::CI <= C && G::OW % 4 == 0 && G::OH % P == 0);
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0), g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  char* const xs = lane.shared + (-__cvta_generic_to_shared(lane.shared) & 1023);  // [slots][parts_of_row][KW][C]
  char* const gs = xs + slots * x_bytes;                                           // [2][parts_of_row][P][channels]
  if (G::CO != channels || G::CI != C) {
    for (int at = threadIdx.x * 16; at < slots * x_bytes + 2 * g_bytes; at += kThreads * 16)
      *reinterpret_cast<Vector<uint32_t, 4>*>(xs + at) = {};
    __syncthreads();
  }

  // Each thread copies its pieces past its registers, to a place of its own. Where a warp has whole rows, its neighbours have
  // the pixels beside a piece.
  constexpr bool neighbours = G::W == G::OW && G::PW == 1 && G::KW == 3 && 32 % pieces == 0;
  constexpr int own_x = (P * G::CI * pieces + kThreads - 1) / kThreads, x_words = neighbours ? 4 : 3 + G::KW;
  constexpr int own_g = (P * G::CO * pieces + kThreads - 1) / kThreads;
  float* const own_pieces = reinterpret_cast<float*>(gs + 2 * g_bytes) + threadIdx.x * 4;  // of g, [own_g][kThreads][4]
  float* const own_pixels = reinterpret_cast<float*>(gs + 2 * g_bytes) + own_g * (kThreads * 4) + threadIdx.x * x_words;
  float of_bias[own_g] = {};
  auto load = [&](Turn at) {
    const int n = at.turn / Turn::turns, y = at.turn % Turn::turns * P, first_row = y + G::KH - 1 - at.ahead * P - G::PH;
    const float* from = x + int64_t(n) * (G::CI * G::H * G::W) + first_row * G::W;
#pragma unroll
    for (int u = 0; u < own_x; ++u) {
      const int e = u * kThreads + threadIdx.x, row = e / pieces / G::CI, ci = e / pieces % G::CI;
      const int column = e % pieces * 4 - (neighbours ? 0 : G::PW);
      const bool inside = e < P * G::CI * pieces && unsigned(first_row + row) < G::H && e % pieces * 4 < G::OW;
      const float* from_piece = from + ci * (G::H * G::W) + row * G::W + column;
      const SharedAddress to = shared_address(own_pixels + u * (kThreads * x_words));
      if constexpr (neighbours) {
        copy_unit<16>(to, global_address(inside ? from_piece : x), inside ? 16 : 0);
      } else {
#pragma unroll
        for (int v = 0; v < x_words; ++v) {
          const bool valid = inside && unsigned(column + v) < G::W;
          copy_unit<4>(to + v * 4, global_address(valid ? from_piece + v : x), valid ? 4 : 0);
        }
      }
    }
    if (at.ahead == 0) {
      const float* from_g = gradient + int64_t(n) * (G::CO * G::OH * G::OW) + y * G::OW;
#pragma unroll
      for (int u = 0; u < own_g; ++u) {
        const int e = u * kThreads + threadIdx.x, row = e / pieces / G::CO, co = e / pieces % G::CO, first = e % pieces * 4;
        const bool inside = e < P * G::CO * pieces && first < G::OW;
        const float* from_piece = from_g + co * (G::OH * G::OW) + row * G::OW + first;
        copy_unit<16>(shared_address(own_pieces + u * (kThreads * 4)), global_address(inside ? from_piece : gradient),
                      inside ? 16 : 0);
      }
    }
  };
  auto store = [&](Turn at, int step) {
    auto rounded = [](const float* four) {
      Vector<uint32_t, 4> words;
#pragma unroll
      for (int v = 0; v < 4; ++v) words.at[v] = to_tf32(four[v]);
      return words;
    };
    wait_for_all_copies();
    char* const to_x = xs + step * P % slots * x_bytes;
#pragma unroll
    for (int u = 0; u < own_x; ++u) {
      const int e = u * kThreads + threadIdx.x, row = e / pieces / G::CI, ci = e / pieces % G::CI, piece = e % pieces;
      const float* own = own_pixels + u * (kThreads * x_words);
      float pixels[3 + G::KW];
      if constexpr (neighbours) {
        const auto four = *reinterpret_cast<const Vector<float, 4>*>(own);
#pragma unroll
        for (int v = 0; v < 4; ++v) pixels[v + 1] = four.at[v];
        const float left = __shfl_up_sync(0xffffffffu, four.at[3], 1), right = __shfl_down_sync(0xffffffffu, four.at[0], 1);
        pixels[0] = piece == 0 ? 0 : left;
        pixels[5] = piece == pieces - 1 ? 0 : right;
      } else {
#pragma unroll
        for (int v = 0; v < x_words; ++v) pixels[v] = own[v];
      }
      if (e < P * G::CI * pieces)
#pragma unroll
        for (int kx = 0; kx < G::KW; ++kx)
          *reinterpret_cast<Vector<uint32_t, 4>*>(to_x + row * x_bytes + piece / 8 * x_part +
                                                  Rows::piece(kx * C + ci, piece % 8)) = rounded(pixels + kx);
    }
    if (at.ahead == 0) {
      char* const to_g = gs + step % 2 * g_bytes;
#pragma unroll
      for (int u = 0; u < own_g; ++u) {
        const int e = u * kThreads + threadIdx.x, row = e / pieces / G::CO, co = e / pieces % G::CO, piece = e % pieces;
        const auto four = *reinterpret_cast<const Vector<float, 4>*>(own_pieces + u * (kThreads * 4));
        if (e < P * G::CO * pieces)
          *reinterpret_cast<Vector<uint32_t, 4>*>(to_g + piece / 8 * g_part + Rows::piece(row * channels + co, piece % 8)) =
              rounded(four.at);
        if (BIAS) of_bias[u] += (four.at[0] + four.at[1]) + (four.at[2] + four.at[3]);
      }
    }
    show_to_tensor_cores();
  };

  const int first = int(lane.chunk) * PER, group = warp / 4;
  const int last = first + PER < G::BATCH * Turn::turns ? first + PER : G::BATCH * Turn::turns;
  float sum[own_rows][N / 8][4] = {};
  Turn at = {first, Turn::most_ahead}, next = at.next();
  load(at);
  store(at, 0);
  if (next.turn < last) load(next);
  for (int step = 0; at.turn < last; ++step) {
    const Turn later = next.next();
    __syncthreads();
    auto prepare = [&] {
      if (next.turn < last) store(next, step + 1);
      if (later.turn < last) load(later);
    };
    if (at.ahead > 0 || group >= x_rows) {
      prepare();
    } else {
      const uint64_t a = Rows::operand(uint32_t(__cvta_generic_to_shared(gs + step % 2 * g_bytes)));
#pragma unroll
      for (int i = 0; i < own_rows; ++i) keep_in_registers(sum[i]);
      begin_warpgroup_products();
#pragma unroll
      for (int i = 0; i < own_rows; ++i) {
        const int row = i * groups + group;
        if (row >= x_rows) continue;
        const char* from_x = xs + (step * P + slots - (G::KH - 1) + row) % slots * x_bytes;
        const uint64_t b = Rows::operand(uint32_t(__cvta_generic_to_shared(from_x)));
#pragma unroll
        for (int part = 0; part < parts_of_row; ++part)
#pragma unroll
          for (int k = 0; k < 32; k += 8)
            multiply_warpgroup<N>(sum[i], a + (part * g_part + k * 4) / 16, b + (part * x_part + k * 4) / 16);
      }
      end_warpgroup_products();
      prepare();
      wait_for_warpgroup_products();
    }
    at = next;
    next = later;
  }

  // Through shared memory, so that neighbours are stored together.
  float* const total = reinterpret_cast<float*>(xs);  // [CO][J]
  float* const of_pieces = total + G::CO * J;          // [P][CO][pieces]
  __syncthreads();
  if (BIAS)
#pragma unroll
    for (int u = 0; u < own_g; ++u)
      if (const int e = u * kThreads + threadIdx.x; e < P * G::CO * pieces) of_pieces[e] = of_bias[u];
#pragma unroll
  for (int p = 0; p < P; ++p) {
    if (warp % 4 * 16 / channels == p)
#pragma unroll
      for (int i = 0; i < own_rows; ++i) {
        const int ky = i * groups + group - p;
        if (unsigned(ky) >= G::KH) continue;
#pragma unroll
        for (int e = 0; e < N / 2; ++e) {
          const int co = warp % 4 * 16 % channels + e % 4 / 2 * 8 + g, n = e / 4 * 8 + t * 2 + e % 2;
          float& to = total[co * J + n % C * taps + ky * G::KW + n / C];
          if (co < G::CO && n % C < G::CI) to = p == 0 ? sum[i][e / 4][e % 4] : to + sum[i][e / 4][e % 4];
        }
      }
    __syncthreads();
  }
  constexpr bool one = G::BATCH * Turn::turns <= PER;
  float* own_part = reinterpret_cast<float*>(workspace) + int64_t(lane.chunk) * (G::CO * J + (BIAS ? G::CO : 0));
  float* to = one ? dw : own_part;
  for (int e = threadIdx.x; e < G::CO * J; e += kThreads) to[e] = total[e];
  if (BIAS && threadIdx.x < G::CO) {
    float of_channel = 0;
#pragma unroll
    for (int p = 0; p < P; ++p)
#pragma unroll
      for (int piece = 0; piece < pieces; ++piece)
        of_channel += of_pieces[(p * G::CO + threadIdx.x) * pieces + piece];
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
