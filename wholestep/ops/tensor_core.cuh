// Products of matrices on tensor cores, in TF32 (10 bits of mantissa, f32 sums): c [M, N] = a [M, K] b [K, N], where a, b
// and c are anything that gives or takes elements. Matrix products and the three convolutions differ only in that.
#pragma once

/// Rounded to the nearest: tensor cores cut off the 13 low bits, so half of what is cut is added first. Infinities stay,
/// and so do NaNs, which the sum could otherwise carry over into a small number.
__device__ inline uint32_t to_tf32(float x) { return __float_as_uint(x) + (x == x ? 0x1000u : 0u); }

/// sum [16, 8] += a [16, 8] b [8, 8], spread over a warp as PTX's mma.m16n8k8 lays it out.
__device__ inline void multiply_tf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// V neighbours in global memory, or zeros. A predicate, not a branch: the loads of a loop go out together.
template <int V>
__device__ Vector<float, V> load_if(bool valid, const float* from) {
  Vector<float, V> to = {};
  if constexpr (V == 4)
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %5, 0; @p ld.global.v4.f32 {%0, %1, %2, %3}, [%4]; }"
                 : "+f"(to.at[0]), "+f"(to.at[1]), "+f"(to.at[2]), "+f"(to.at[3])
                 : "l"(from), "r"(int(valid)));
  else if constexpr (V == 2)
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %3, 0; @p ld.global.v2.f32 {%0, %1}, [%2]; }"
                 : "+f"(to.at[0]), "+f"(to.at[1])
                 : "l"(from), "r"(int(valid)));
  else
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0; @p ld.global.f32 %0, [%1]; }"
                 : "+f"(to.at[0])
                 : "l"(from), "r"(int(valid)));
  return to;
}

/// Calls use(row, column) for ROWS x COLUMNS pairs shared out among the threads, which keep to their columns.
template <int ROWS, int COLUMNS, class Use>
__device__ void share(Use use) {
  constexpr int at_once = COLUMNS < kThreads ? kThreads / COLUMNS : 1;
  const int first = COLUMNS < kThreads ? threadIdx.x / COLUMNS : 0;
  if (first >= at_once) return;
  for (int column = COLUMNS < kThreads ? threadIdx.x % COLUMNS : threadIdx.x; column < COLUMNS; column += kThreads)
#pragma unroll
    for (int row = 0; row < ROWS; row += at_once)
      if (row + at_once <= ROWS || row + first < ROWS) use(row + first, column);
}

/// V neighbours from global to shared memory, past the registers, or zeros.
template <int V>
__device__ void copy_async(uint32_t* to, const float* from, bool valid) {
  const uint32_t address = uint32_t(__cvta_generic_to_shared(to));
  if constexpr (V == 4)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from), "n"(V * 4),
                 "r"(valid ? V * 4 : 0)
                 : "memory");
}
/// Until what this thread copies has arrived.
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/// V words in shared memory.
template <int V>
__device__ void round_to_tf32(uint32_t* words) {
  auto& at = *reinterpret_cast<Vector<uint32_t, V>*>(words);
  Vector<uint32_t, V> bits = at;
#pragma unroll
  for (int v = 0; v < V; ++v) bits.at[v] = to_tf32(__uint_as_float(bits.at[v]));
  at = bits;
}

/// The smallest number from `words` on that leaves `rest` when divided by `of`: how far apart rows lie in shared memory.
constexpr int with_rest(int words, int rest, int of) { return (words - rest + of - 1) / of * of + rest; }

/// The tile of a block, cut into one [WM, WN] part a warp, over TK of the sum at a time.
template <int TM_, int TN_, int WM_, int WN_>
struct TensorTile {
  static constexpr int TM = TM_, TN = TN_, WM = WM_, WN = WN_, TK = 32;
  static constexpr int SA = TM + 8, SB = TN + 8;  // rows of shared memory: a warp's reads hit 32 banks
  static constexpr int shared_words = 2 * TK * (SA + SB);
  static_assert(TM / WM * (TN / WN) == kWarps);
};

/// One tile of c, summed over [begin, end). The operands fetch a slice of the sum into registers, zeros where there is
/// nothing, and place it in shared memory, while the tensor cores work on the slice before.
template <class Tile, class A, class B>
struct TensorProduct {
  static constexpr int X = Tile::WM / 16, Y = Tile::WN / 8;
  float sum[X][Y][4];

  __device__ void run(A& a, B& b, int begin, int end, uint32_t* shared) {
    constexpr int TK = Tile::TK, SA = Tile::SA, SB = Tile::SB;
    uint32_t* as = shared;                // [2][TK][SA]
    uint32_t* bs = shared + 2 * TK * SA;  // [2][TK][SB]
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int m0 = warp / (Tile::TN / Tile::WN) * Tile::WM, n0 = warp % (Tile::TN / Tile::WN) * Tile::WN;
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int x = 0; x < X; ++x)
#pragma unroll
      for (int y = 0; y < Y; ++y)
#pragma unroll
        for (int r = 0; r < 4; ++r) sum[x][y][r] = 0;
    if (begin >= end) return;
    a.fetch(begin, end);
    b.fetch(begin, end);
    a.place(as);
    b.place(bs);
    __syncthreads();
    int stage = 0;
    for (int k0 = begin; k0 < end; k0 += TK, stage ^= 1) {
      const bool more = k0 + TK < end;
      if (more) {
        a.fetch(k0 + TK, end);
        b.fetch(k0 + TK, end);
      }
      const uint32_t* from_a = as + stage * TK * SA + t * SA + m0 + g;
      const uint32_t* from_b = bs + stage * TK * SB + t * SB + n0 + g;
#pragma unroll
      for (int k = 0; k < TK; k += 8) {
        uint32_t fa[X][4], fb[Y][2];
#pragma unroll
        for (int x = 0; x < X; ++x)
#pragma unroll
          for (int r = 0; r < 4; ++r) fa[x][r] = from_a[(k + r / 2 * 4) * SA + x * 16 + r % 2 * 8];
#pragma unroll
        for (int y = 0; y < Y; ++y)
#pragma unroll
          for (int r = 0; r < 2; ++r) fb[y][r] = from_b[(k + r * 4) * SB + y * 8];
#pragma unroll
        for (int x = 0; x < X; ++x)
#pragma unroll
          for (int y = 0; y < Y; ++y) multiply_tf32(sum[x][y], fa[x], fb[y]);
      }
      if (more) {
        a.place(as + (stage ^ 1) * TK * SA);
        b.place(bs + (stage ^ 1) * TK * SB);
      }
      __syncthreads();
    }
  }

  /// Calls store(m, n, values) for elements (m, n) to (m, n + 3) of the tile, n a multiple of 4, neighbouring threads along n:
  /// the tile goes through shared memory, which run() has left.
  template <class Store>
  __device__ void store(uint32_t* shared, Store store) const {
    constexpr int S = Tile::TN + 4;
    static_assert(Tile::TM * S <= Tile::shared_words);
    float* tile = reinterpret_cast<float*>(shared);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int m0 = warp / (Tile::TN / Tile::WN) * Tile::WM + lane / 4,
              n0 = warp % (Tile::TN / Tile::WN) * Tile::WN + lane % 4 * 2;
#pragma unroll
    for (int x = 0; x < X; ++x)
#pragma unroll
      for (int y = 0; y < Y; ++y)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          *reinterpret_cast<Vector<float, 2>*>(tile + (m0 + x * 16 + half * 8) * S + n0 + y * 8) = {
              sum[x][y][half * 2], sum[x][y][half * 2 + 1]};
    __syncthreads();
    constexpr int columns = Tile::TN / 4;
#pragma unroll 4
    for (int e = threadIdx.x; e < Tile::TM * columns; e += kThreads)
      store(e / columns, e % columns * 4,
            *reinterpret_cast<const Vector<float, 4>*>(tile + e / columns * S + e % columns * 4));
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

/// How the threads of a block walk an operand's [TK, WIDTH] part of a tile, V neighbours in memory at a time: along the
/// sum where elements that follow each other in it lie side by side, or else along the side.
template <int WIDTH, bool ALONG_SUM, int MOST = 1>
struct TensorWalk {
  static constexpr int TK = 32, S = WIDTH + 8, each = WIDTH * TK / kThreads, V = each < MOST ? each : MOST;
  static constexpr int L = each / V, run = 8 / V;  // lanes side by side along the sum
  __device__ static int k_of(int l) {
    const int e = threadIdx.x + l * kThreads;
    return ALONG_SUM ? (e % run + e / (run * WIDTH) * run) * V : e / (WIDTH / V);
  }
  __device__ static int i_of(int l) {
    const int e = threadIdx.x + l * kThreads;
    return ALONG_SUM ? e / run % WIDTH : e % (WIDTH / V) * V;
  }
  __device__ static void place(const Vector<float, V> (&next)[L], uint32_t* shared) {
#pragma unroll
    for (int l = 0; l < L; ++l) {
      uint32_t* to = shared + k_of(l) * S + i_of(l);
      Vector<uint32_t, V> bits;
#pragma unroll
      for (int v = 0; v < V; ++v) bits.at[v] = to_tf32(next[l].at[v]);
      if (ALONG_SUM)
#pragma unroll
        for (int v = 0; v < V; ++v) to[v * S] = bits.at[v];
      else *reinterpret_cast<Vector<uint32_t, V>*>(to) = bits;
    }
  }
};

/// An operand in memory: element (k, i) is at data[Address::at(k, i)], for i below EXTENT; the tile starts at `first`.
/// Address::kVector neighbours lie side by side at a multiple of it.
template <int WIDTH, int64_t EXTENT, bool ALONG_SUM, class Address>
struct AddressedOperand {
  using Walk = TensorWalk<WIDTH, ALONG_SUM, Address::kVector>;
  const float* data;
  int first;
  Vector<float, Walk::V> next[Walk::L];
  __device__ void fetch(int k0, int end) {
#pragma unroll
    for (int l = 0; l < Walk::L; ++l) {
      const int k = k0 + Walk::k_of(l), i = first + Walk::i_of(l);
      next[l] = load_if<Walk::V>(k < end && i < EXTENT, data + Address::at(k, i));
    }
  }
  __device__ void place(uint32_t* shared) const { Walk::place(next, shared); }
};

/// LENGTH: of the rows along the step of 1; sums are cut at multiples of 32, so that vectors stay whole.
template <int64_t K_STEP, int64_t I_STEP, int64_t LENGTH>
struct MatrixAddress {
  static constexpr int kVector = LENGTH % 4 == 0 ? 4 : 1;
  __device__ static int64_t at(int64_t k, int64_t i) { return k * K_STEP + i * I_STEP; }
};
template <int WIDTH, int64_t EXTENT, int64_t K_STEP, int64_t I_STEP>
using MatrixOperand =
    AddressedOperand<WIDTH, EXTENT, K_STEP == 1, MatrixAddress<K_STEP, I_STEP, K_STEP == 1 ? I_STEP : K_STEP>>;
