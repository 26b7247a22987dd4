// Thirty-two f64 lanes are summed side by side on every instruction set, so the order of additions is the
// same on all of them; as many hide the latency of an addition.
#include <limits>

#include "wholestep/ops/reduce_loops.h"
#if WHOLESTEP_ISA_avx512
#include <immintrin.h>
#endif

namespace wholestep::WHOLESTEP_ISA {
namespace {

constexpr int kLanes = 32;

/// total + x, or + x * x. The square of an f32 is exact in f64, so there a fused multiply-add, where the
/// hardware has it, gives the bits of two operations.
template <bool square, class T>
[[gnu::always_inline]] inline double plus(double total, T x) {
  const double value = static_cast<double>(x);
#if WHOLESTEP_ISA_avx2 || WHOLESTEP_ISA_avx512
  if constexpr (square && sizeof(T) == 4) return __builtin_fma(value, value, total);
#endif
  return total + (square ? value * value : value);
}

/// Whole runs of kLanes elements; how many elements those are.
template <bool square, class T>
[[gnu::always_inline]] inline int64_t add_runs(double (&lanes)[kLanes], const T* x, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) lanes[k] = plus<square>(lanes[k], x[i + k]);
  return i;
}
#if WHOLESTEP_ISA_avx512
/// Eight at a time are widened as they are loaded, half the work of widening sixteen in a register.
template <bool square>
[[gnu::always_inline]] inline int64_t add_runs(double (&lanes)[kLanes], const float* x, int64_t n) {
  constexpr int kVectors = kLanes / 8;
  __m512d totals[kVectors] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int v = 0; v < kVectors; ++v) {
      const __m512d value =
          _mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(x + i + 8 * v));  // plain: false warning
      totals[v] = square ? _mm512_fmadd_pd(value, value, totals[v]) : totals[v] + value;
    }
  __builtin_memcpy(lanes, totals, sizeof lanes);
  return i;
}
#endif

template <bool square, class T>
double sum(const T* x, int64_t n) {
  double lanes[kLanes] = {};
  int64_t i = add_runs<square>(lanes, x, n);
  if (i + kLanes / 2 <= n) {
    for (int k = 0; k < kLanes / 2; ++k) lanes[k] = plus<square>(lanes[k], x[i + k]);
    i += kLanes / 2;
  }
  for (int k = 0; i < n; ++i, ++k) lanes[k] = plus<square>(lanes[k], x[i]);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int k = 0; k < width; ++k) lanes[k] += lanes[k + width];
  return lanes[0];
}

/// Calls fold(result[i], x[i]) for every row in turn; four rows go by while a result is in a register.
template <class Result, class T, class Fold>
void fold_rows(Result* results, const T* x, int64_t rows, int64_t stride, int64_t n, Fold fold) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4, x += 4 * stride)
    for (int64_t i = 0; i < n; ++i)
      results[i] =
          fold(fold(fold(fold(results[i], x[i]), x[i + stride]), x[i + 2 * stride]), x[i + 3 * stride]);
  for (; r < rows; ++r, x += stride)
    for (int64_t i = 0; i < n; ++i) results[i] = fold(results[i], x[i]);
}

template <class T>
void add_rows(double* totals, const T* x, int64_t rows, int64_t stride, int64_t n) {
  fold_rows(totals, x, rows, stride, n,
            [](double total, T value) { return total + static_cast<double>(value); });
}

/// NaN loses every comparison, so it is noticed beside the lanes.
template <class T>
T max(const T* x, int64_t n) {
  typedef T Vector __attribute__((vector_size(64)));  // conditions on T lanes are not vectorised otherwise
  constexpr int64_t kWidth = 64 / sizeof(T);
  T most = -std::numeric_limits<T>::infinity();
  Vector lanes = most - Vector{}, unordered = {}, value;
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    __builtin_memcpy(&value, x + i, sizeof value);
    lanes = value > lanes ? value : lanes;
    unordered = value == value ? unordered : value;
  }
  bool nan = false;
  for (int64_t k = 0; k < kWidth; ++k) {
    most = lanes[k] > most ? lanes[k] : most;
    nan |= unordered[k] != unordered[k];
  }
  for (; i < n; ++i) {
    most = x[i] > most ? x[i] : most;
    nan |= x[i] != x[i];
  }
  return nan ? std::numeric_limits<T>::quiet_NaN() : most;
}

template <class T>
void max_rows(T* most, const T* x, int64_t rows, int64_t stride, int64_t n) {
  fold_rows(most, x, rows, stride, n, [](T a, T b) { return b > a || b != b ? b : a; });
}

template <class T>
constexpr ReduceLoops<T> kLoops = {sum<false, T>, sum<true, T>, max<T>, add_rows<T>, max_rows<T>};

}  // namespace

extern const ReduceLoops<float> kReduceLoopsF32;
extern const ReduceLoops<double> kReduceLoopsF64;
const ReduceLoops<float> kReduceLoopsF32 = kLoops<float>;
const ReduceLoops<double> kReduceLoopsF64 = kLoops<double>;

}  // namespace wholestep::WHOLESTEP_ISA
