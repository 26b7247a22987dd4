// One tile of a matrix product: sums in registers, then either plain into C or finished with alpha, beta,
// bias, relu.
#pragma once
#include "wholestep/backend/cpu/tile.isa.h"

namespace wholestep::WHOLESTEP_ISA {

/// What happens to complete sums.
struct Epilogue {
  float alpha, beta;
  const float* bias;  ///< null, or of the first column it is applied to
  bool relu;
  const float *mask = nullptr, *c = nullptr;  ///< null, or the mask and C from their first elements on
};

/// Whether complete sums are the outputs as they are.
inline bool is_plain(const Epilogue& e) {
  return e.alpha == 1 && e.beta == 0 && e.bias == nullptr && !e.relu && e.mask == nullptr;
}

/// `lanes` outputs from complete sums: c holds the old values, bias belongs to the same columns.
WHOLESTEP_INLINE Vec finish(Vec sums, const float* c, const float* bias, int64_t lanes, const Epilogue& e) {
  Vec t = broadcast(e.alpha) * sums;
  if (e.beta != 0) t = t + broadcast(e.beta) * load_first(c, lanes);
  if (bias != nullptr) t = t + load_first(bias, lanes);
  if (e.relu) t = max(zero(), t);
  return e.mask == nullptr ? t : masked(t, load_first(e.mask + (c - e.c), lanes));
}

struct Tile {
  const float* a = nullptr;
  int64_t a_stride = 0;
  const float* b = nullptr;
  int64_t b_stride = 0;
  int64_t depth = 0;
  float* c = nullptr;
  int64_t ldc = 0;
  int64_t columns = 0;                 ///< how many of the tile's columns exist
  bool resume = false;                 ///< go on from the sums in c
  const Epilogue* epilogue = nullptr;  ///< null: leave plain sums in c
};

template <class Left, int Vecs, int Rows>
void compute_tile(const Tile& t) {
  Vec acc[Rows][Vecs];
  const int64_t last = t.columns - (Vecs - 1) * kWidth;  // lanes of the last vector that exist
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v)
      acc[r][v] = t.resume ? load_first(t.c + r * t.ldc + v * kWidth, v == Vecs - 1 ? last : kWidth) : zero();
  accumulate<Rows, Vecs>(Left{t.a, t.a_stride}, Strided{t.b, t.b_stride}, t.depth, acc);
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Vecs; ++v) {
      float* c = t.c + r * t.ldc + v * kWidth;
      int64_t lanes = v == Vecs - 1 ? last : kWidth;
      Vec value = acc[r][v];
      if (t.epilogue != nullptr) {
        const float* bias = t.epilogue->bias == nullptr ? nullptr : t.epilogue->bias + v * kWidth;
        value = finish(value, c, bias, lanes, *t.epilogue);
      }
      store_first(c, value, lanes);
    }
  }
}

using TileFn = void (*)(const Tile&);
template <class Left, int Vecs, std::size_t... R>
TileFn tile_of_rows(int64_t rows, std::index_sequence<R...>) {
  static constexpr TileFn kFns[] = {compute_tile<Left, Vecs, static_cast<int>(R) + 1>...};
  return kFns[rows - 1];
}
/// The function for tiles of `rows` rows (at most kMaxRows[vecs]) and `vecs` vectors (1 to 4).
template <class Left>
TileFn tile_of(int64_t rows, int64_t vecs) {
  switch (vecs) {
    case 1: return tile_of_rows<Left, 1>(rows, std::make_index_sequence<kMaxRows[1]>{});
    case 2: return tile_of_rows<Left, 2>(rows, std::make_index_sequence<kMaxRows[2]>{});
    case 3: return tile_of_rows<Left, 3>(rows, std::make_index_sequence<kMaxRows[3]>{});
    default: return tile_of_rows<Left, 4>(rows, std::make_index_sequence<kMaxRows[4]>{});
  }
}

}  // namespace wholestep::WHOLESTEP_ISA
