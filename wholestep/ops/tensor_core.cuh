// Products on tensor cores, in TF32 (10 bits of mantissa, f32 sums): what brings operands into shared memory and rounds them,
// for matrices and convolutions alike, and products of matrices, c [M, N] = a [M, K] b [K, N].
#pragma once

/// Rounded to the nearest: tensor cores cut off the 13 low bits, so half of what is cut is added first. Infinities stay,
/// and so do NaNs, which the sum could otherwise carry over into a small number.
__device__ inline uint32_t to_tf32(float x) { return __float_as_uint(x) + (x == x ? 0x1000u : 0u); }
/// The same of a word that was copied as it is.
__device__ inline uint32_t read_tf32(uint32_t word) { return to_tf32(__uint_as_float(word)); }

/// V neighbours in global memory, or zeros.
template <int V>
__device__ Vector<float, V> load_if(bool valid, const float* from) {
  Vector<float, V> to = {};
  load_valid(valid, from, to.at);
  return to;
}

/// Calls use(row, column, k) for ROWS x COLUMNS pairs shared out among the threads, which keep to their columns; the rows of
/// a thread are the k-th of its own, at_once apart.
template <int ROWS, int COLUMNS>
struct Shared {
  static constexpr int at_once = COLUMNS < kThreads ? kThreads / COLUMNS : 1, columns = COLUMNS < kThreads ? COLUMNS : kThreads;
  static constexpr int own = (ROWS + at_once - 1) / at_once;
  __device__ static int first_row() { return COLUMNS < kThreads ? threadIdx.x / COLUMNS : 0; }
  __device__ static int first_column() { return COLUMNS < kThreads ? threadIdx.x % COLUMNS : threadIdx.x; }
  template <class Use>
  __device__ static void each(Use use) {
    const int first = first_row();
    if (first >= at_once) return;
    for (int column = first_column(); column < COLUMNS; column += kThreads)
#pragma unroll
      for (int k = 0; k < own; ++k)
        if ((k + 1) * at_once <= ROWS || k * at_once + first < ROWS) use(k * at_once + first, column, k);
  }
};
template <int ROWS, int COLUMNS, class Use>
__device__ void share(Use use) {
  Shared<ROWS, COLUMNS>::each([&](int row, int column, int) { use(row, column); });
}

/// V neighbours from global to shared memory, past the registers, or zeros.
template <int V>
__device__ void copy_async(uint32_t* to, const float* from, bool valid) {
  copy_unit<V * 4>(shared_address(to), global_address(from), valid ? V * 4 : 0);
}

/// V words in shared memory.
template <int V>
__device__ void round_to_tf32(uint32_t* words) {
  auto& at = *reinterpret_cast<Vector<uint32_t, V>*>(words);
  Vector<uint32_t, V> bits = at;
#pragma unroll
  for (int v = 0; v < V; ++v) bits.at[v] = read_tf32(bits.at[v]);
  at = bits;
}

/// The smallest number from `words` on that leaves `rest` when divided by `of`: how far apart rows lie in shared memory.
constexpr int with_rest(int words, int rest, int of) { return (words - rest + of - 1) / of * of + rest; }

/// The tile of a block, cut into [WM, WN] a warp; where those are fewer than warps, in each slice of TK of the sum every
/// warp has one of PARTS parts. STAGES slices lie in shared memory.
template <int TM_, int TN_, int WM_, int WN_, int STAGES_>
struct TensorTile {
  static constexpr int TM = TM_, TN = TN_, WM = WM_, WN = WN_, TK = 32, STAGES = STAGES_;
  static constexpr int ACROSS = TN / WN, TILES = TM / WM * ACROSS, PARTS = kWarps / TILES;
  static constexpr int stage_words = (TK + 4) * (TM + TN + 16), shared_words = STAGES * stage_words;
  static_assert(TILES * PARTS == kWarps && PARTS * 8 <= TK && STAGES > 1);
};

/// One tile of c, summed over slices of the sum that begin at `begin` and every `step` behind it, before `end`. The operands
/// copy a slice to shared memory, zeros where there is nothing, while the tensor cores work on those before.
template <class Tile, class A, class B>
struct TensorProduct {
  static constexpr int X = Tile::WM / 16, Y = Tile::WN / 8;
  float sum[X][Y][4];
  uint32_t largest = 0;  // magnitude of what the thread has multiplied of b, if asked for
  const int warp = threadIdx.x / 32, part = warp / Tile::TILES, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int m0 = warp % Tile::TILES / Tile::ACROSS * Tile::WM, n0 = warp % Tile::ACROSS * Tile::WN;

  template <bool LARGEST = false>
  __device__ void run(const A& a, const B& b, int begin, int end, int step, uint32_t* shared) {
    constexpr int TK = Tile::TK;
    static_assert(A::words + B::words <= Tile::stage_words);
#pragma unroll
    for (int e = 0; e < X * Y * 4; ++e) sum[e / (Y * 4)][e / 4 % Y][e % 4] = 0;
    auto copy = [&](int slice) {
      const int k0 = begin + slice * step;
      uint32_t* to = shared + slice % Tile::STAGES * Tile::stage_words;
      if (k0 < end) a.copy(k0, end, to), b.copy(k0, end, to + A::words);
      end_copies();
    };
#pragma unroll
    for (int slice = 0; slice < Tile::STAGES - 1; ++slice) copy(slice);
    for (int slice = 0; begin + slice * step < end; ++slice) {
      if constexpr (Tile::STAGES == 2) wait_for_all_copies();
      else wait_for_copies<Tile::STAGES - 2>();
      __syncthreads();
      copy(slice + Tile::STAGES - 1);
      const uint32_t* from_a = shared + slice % Tile::STAGES * Tile::stage_words;
      const uint32_t* from_b = from_a + A::words + (n0 + g) * B::kSide + (part * 8 + t) * B::kSum;
      from_a += (m0 + g) * A::kSide + (part * 8 + t) * A::kSum;
#pragma unroll
      for (int k = 0; k < TK; k += Tile::PARTS * 8) {
        uint32_t fa[X][4];
#pragma unroll
        for (int x = 0; x < X; ++x)
#pragma unroll
          for (int r = 0; r < 4; ++r)
            fa[x][r] = read_tf32(from_a[(x * 16 + r % 2 * 8) * A::kSide + (k + r / 2 * 4) * A::kSum]);
#pragma unroll
        for (int y = 0; y < Y; ++y) {
          const uint32_t words[2] = {from_b[y * 8 * B::kSide + k * B::kSum], from_b[y * 8 * B::kSide + (k + 4) * B::kSum]};
          const uint32_t fb[2] = {read_tf32(words[0]), read_tf32(words[1])};
          if constexpr (LARGEST)
#pragma unroll
            for (uint32_t word : words) largest = (word & 0x7fffffff) > largest ? word & 0x7fffffff : largest;
#pragma unroll
          for (int x = 0; x < X; ++x) multiply_tf32(sum[x][y], fa[x], fb);
        }
      }
    }
    __syncthreads();
  }

  /// At least the sum of squares of what the thread has multiplied of b, in slices that began every `step` of `length` terms;
  /// not finite where an element is not.
  __device__ double squares_of_b(int length, int step) const {
    constexpr int of_slice = Tile::TK / (Tile::PARTS * 8) * Y * 2;
    const double value = __uint_as_float(largest);
    return double((length + step - 1) / step) * of_slice * value * value;
  }

  /// Leaves the tile in shared memory, which run() has left, in rows of TN + 4.
  __device__ const float* spill(uint32_t* shared) {
    constexpr int S = Tile::TN + 4;
    static_assert(Tile::TM * S <= Tile::shared_words);
    float* tile = reinterpret_cast<float*>(shared);
    auto each = [&](auto use) {
#pragma unroll
      for (int e = 0; e < X * Y * 2; ++e) {
        const int x = e / (Y * 2), y = e / 2 % Y, half = e % 2;
        use(*reinterpret_cast<Vector<float, 2>*>(tile + (m0 + x * 16 + half * 8 + g) * S + n0 + y * 8 + t * 2),
            sum[x][y][half * 2], sum[x][y][half * 2 + 1]);
      }
    };
#pragma unroll 1
    for (int p = 0; p < Tile::PARTS; ++p) {  // added in order
      if (part == p) {
        if (p > 0) each([&](Vector<float, 2>& at, float& low, float& high) { low += at.at[0], high += at.at[1]; });
        each([&](Vector<float, 2>& at, float& low, float& high) { at = {low, high}; });
      }
      __syncthreads();
    }
    return tile;
  }

  /// Calls store(m, n, values) for elements (m, n) to (m, n + 3) of the tile, n a multiple of 4, neighbouring threads along n.
  template <class Store>
  __device__ void store(uint32_t* shared, Store store) {
    const float* tile = spill(shared);
    constexpr int columns = Tile::TN / 4;
#pragma unroll 4
    for (int e = threadIdx.x; e < Tile::TM * columns; e += kThreads)
      store(e / columns, e % columns * 4,
            *reinterpret_cast<const Vector<float, 4>*>(tile + e / columns * (Tile::TN + 4) + e % columns * 4));
  }
};

/// The first `count` of four neighbours, together where they always lie at a multiple of 4.
template <bool ALIGNED>
__device__ void store_four(float* to, const Vector<float, 4>& values, int64_t count) {
  if (ALIGNED) {
    *reinterpret_cast<Vector<float, 4>*>(to) = values;
    return;
  }
#pragma unroll
  for (int v = 0; v < 4; ++v)
    if (v < count) to[v] = values.at[v];
}

/// An operand in memory: element (k, i) is at data[k * K_STEP + i * I_STEP], one of them 1, for i below EXTENT; the tile
/// starts at `first`. Rows lie in shared memory as in memory, so far apart that a warp reads a fragment from 32 banks.
/// Sums are cut at multiples of 32, so that vectors stay whole.
template <int WIDTH, int64_t EXTENT, int64_t K_STEP, int64_t I_STEP>
struct MatrixOperand {
  static constexpr bool along_sum = K_STEP == 1;
  static constexpr int TK = 32, pitch = along_sum ? TK + 4 : WIDTH + 8, words = (along_sum ? WIDTH : TK) * pitch;
  static constexpr int kSide = along_sum ? pitch : 1, kSum = along_sum ? 1 : pitch;
  static constexpr int V = (along_sum ? I_STEP : K_STEP) % 4 == 0 ? 4 : 1;
  const float* data;
  int first;
  __device__ void copy(int k0, int end, uint32_t* to) const {
    share<along_sum ? WIDTH : TK, (along_sum ? TK : WIDTH) / V>([&](int row, int column) {
      const int k = k0 + (along_sum ? column * V : row), i = first + (along_sum ? row : column * V);
      const bool inside = k < end && i < EXTENT;
      copy_async<V>(to + row * pitch + column * V, inside ? data + (k * K_STEP + i * I_STEP) : data, inside);
    });
  }
};
