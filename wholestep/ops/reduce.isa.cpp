// Sixteen f64 lanes are summed side by side on every instruction set, so the order of additions is the same
// on all of them.
#include <limits>

#include "wholestep/ops/reduce_loops.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

constexpr int kLanes = 16;

template <bool square, class T>
double sum(const T* x, int64_t n) {
  auto term = [](T value) {
    return square ? static_cast<double>(value) * static_cast<double>(value) : static_cast<double>(value);
  };
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) lanes[k] += term(x[i + k]);
  for (int k = 0; i < n; ++i, ++k) lanes[k] += term(x[i]);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int k = 0; k < width; ++k) lanes[k] += lanes[k + width];
  return lanes[0];
}

template <class T>
void add_row(double* totals, const T* row, int64_t n) {
  for (int64_t i = 0; i < n; ++i) totals[i] += static_cast<double>(row[i]);
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
void max_row(T* most, const T* row, int64_t n) {
  for (int64_t i = 0; i < n; ++i) most[i] = row[i] > most[i] || row[i] != row[i] ? row[i] : most[i];
}

template <class T>
constexpr ReduceLoops<T> kLoops = {sum<false, T>, sum<true, T>, add_row<T>, max<T>, max_row<T>};

}  // namespace

extern const ReduceLoops<float> kReduceLoopsF32;
extern const ReduceLoops<double> kReduceLoopsF64;
const ReduceLoops<float> kReduceLoopsF32 = kLoops<float>;
const ReduceLoops<double> kReduceLoopsF64 = kLoops<double>;

}  // namespace wholestep::WHOLESTEP_ISA
