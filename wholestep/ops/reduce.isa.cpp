// Sixteen f64 lanes are summed side by side on every instruction set, so the order of additions is the same
// on all of them.
#include <cstdint>

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
void add(double* totals, const T* row, int64_t n) {
  for (int64_t i = 0; i < n; ++i) totals[i] += static_cast<double>(row[i]);
}

}  // namespace

double sum_f32(const float* x, int64_t n);
double sum_f64(const double* x, int64_t n);
double sum_squares_f32(const float* x, int64_t n);
double sum_squares_f64(const double* x, int64_t n);
void add_row_f32(double* totals, const float* row, int64_t n);
void add_row_f64(double* totals, const double* row, int64_t n);

double sum_f32(const float* x, int64_t n) { return sum<false>(x, n); }
double sum_f64(const double* x, int64_t n) { return sum<false>(x, n); }
double sum_squares_f32(const float* x, int64_t n) { return sum<true>(x, n); }
double sum_squares_f64(const double* x, int64_t n) { return sum<true>(x, n); }
void add_row_f32(double* totals, const float* row, int64_t n) { add(totals, row, n); }
void add_row_f64(double* totals, const double* row, int64_t n) { add(totals, row, n); }

}  // namespace wholestep::WHOLESTEP_ISA
