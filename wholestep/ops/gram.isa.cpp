// A tile of columns is widened into a buffer in the first-level cache. There every pair of blocks of rows is
// multiplied with its sums in registers: a vector a pair of rows, whose lanes are added up at the end.
#include <algorithm>

#include "wholestep/backend/cpu/vector.isa.h"
#include "wholestep/base/integers.h"
#include "wholestep/ops/gram_loops.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

constexpr int kLanes = kWidth / 2;
typedef double Doubles __attribute__((vector_size(kLanes * 8)));
constexpr int64_t kTileColumns = 128;
/// Rows of a block on the left and on the right: as many sums as leave registers for what they are made of.
constexpr int kLeft = kLanes == 8 ? 4 : 2, kRight = 4, kSums = kLeft * kRight;

WHOLESTEP_INLINE Doubles load(const double* p) {
  Doubles v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
WHOLESTEP_INLINE Doubles multiply_add(Doubles a, Doubles b, Doubles c) {
#if WHOLESTEP_ISA_avx512
  return _mm512_fmadd_pd(a, b, c);
#elif WHOLESTEP_ISA_avx2
  return _mm256_fmadd_pd(a, b, c);
#else
  return a * b + c;
#endif
}

/// Pairs of blocks that hold a pair of rows i <= j.
constexpr int64_t block_pairs(int64_t k) {
  const int64_t right = ceil_div(k, kRight);
  return right * (right + 1) / 2 * (kRight / kLeft);
}
/// Calls use(i, j) for the first rows of each.
template <class Use>
WHOLESTEP_INLINE void each_block_pair(int64_t k, Use use) {
  for (int64_t j = 0; j < k; j += kRight)
    for (int64_t i = 0; i < j + kRight; i += kLeft) use(i, j);
}

/// Columns of one row, zeros behind the last.
template <class T>
WHOLESTEP_INLINE void widen(const T* x, int64_t columns, int64_t column, double* to) {
  int64_t c = 0;
  if (column == 1) {
    typedef T Narrow __attribute__((vector_size(kLanes * sizeof(T))));
    for (; c + kLanes <= columns; c += kLanes) {
      Narrow values;
      __builtin_memcpy(&values, x + c, sizeof values);
      const Doubles wide = __builtin_convertvector(values, Doubles);
      __builtin_memcpy(to + c, &wide, sizeof wide);
    }
  }
  for (; c < columns; ++c) to[c] = static_cast<double>(x[c * column]);
  for (; c < kTileColumns; ++c) to[c] = 0;
}

template <class T>
void gram(const T* x, int64_t k, int64_t columns, int64_t row, int64_t column, double* gram, void* scratch) {
  auto* tile = static_cast<double*>(scratch);
  auto* sums = reinterpret_cast<Doubles*>(tile + rounded_up(k, kRight) * kTileColumns);
  std::fill(tile + k * kTileColumns, tile + rounded_up(k, kRight) * kTileColumns, 0.0);
  std::fill(sums, sums + block_pairs(k) * kSums, Doubles{});
  for (int64_t first = 0; first < columns; first += kTileColumns) {
    for (int64_t i = 0; i < k; ++i)
      widen(x + i * row + first * column, std::min(kTileColumns, columns - first), column,
            tile + i * kTileColumns);
    Doubles* of_pair = sums;
    each_block_pair(k, [&](int64_t i, int64_t j) {
      const double *left = tile + i * kTileColumns, *right = tile + j * kTileColumns;
      Doubles total[kSums];
      for (int s = 0; s < kSums; ++s) total[s] = of_pair[s];
      for (int64_t c = 0; c < kTileColumns; c += kLanes) {
        Doubles b[kRight];
        for (int r = 0; r < kRight; ++r) b[r] = load(right + r * kTileColumns + c);
        for (int l = 0; l < kLeft; ++l) {
          const Doubles a = load(left + l * kTileColumns + c);
          for (int r = 0; r < kRight; ++r)
            total[l * kRight + r] = multiply_add(a, b[r], total[l * kRight + r]);
        }
      }
      for (int s = 0; s < kSums; ++s) of_pair[s] = total[s];
      of_pair += kSums;
    });
  }
  const Doubles* of_pair = sums;
  each_block_pair(k, [&](int64_t i, int64_t j) {
    for (int s = 0; s < kSums; ++s) {
      const int64_t of_i = i + s / kRight, of_j = j + s % kRight;
      double total = 0;
      for (int lane = 0; lane < kLanes; ++lane) total += of_pair[s][lane];
      if (of_i <= of_j && of_j < k) gram[of_i * k + of_j] = total;
    }
    of_pair += kSums;
  });
}

int64_t scratch_bytes(int64_t k) {
  return rounded_up(k, kRight) * kTileColumns * int64_t{sizeof(double)} +
         block_pairs(k) * kSums * int64_t{sizeof(Doubles)};
}

}  // namespace

extern const GramLoops<float> kGramLoopsF32;
extern const GramLoops<double> kGramLoopsF64;
const GramLoops<float> kGramLoopsF32 = {gram<float>, scratch_bytes};
const GramLoops<double> kGramLoopsF64 = {gram<double>, scratch_bytes};

}  // namespace wholestep::WHOLESTEP_ISA
