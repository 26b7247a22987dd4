// Sixteen f64 lanes are summed side by side on every instruction set, so the order of additions is the same
// on all of them.
#include "wholestep/ops/batch_norm_loops.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

constexpr int kLanes = 16;

/// Adds term(i, first, second) over i < n to two sums.
template <class Term>
void sum_two(int64_t n, double* sums, Term term) {
  int64_t i = 0;
  if (n >= kLanes) {
    double first[kLanes] = {}, second[kLanes] = {};
    for (; i + kLanes <= n; i += kLanes)
      for (int k = 0; k < kLanes; ++k) {
        double a, b;
        term(i + k, a, b);
        first[k] += a;
        second[k] += b;
      }
    for (int width = kLanes / 2; width > 0; width /= 2)
      for (int k = 0; k < width; ++k) first[k] += first[k + width], second[k] += second[k + width];
    sums[0] += first[0];
    sums[1] += second[0];
  }
  for (; i < n; ++i) {
    double a, b;
    term(i, a, b);
    sums[0] += a;
    sums[1] += b;
  }
}

template <class T>
void moments(const T* x, int64_t n, double shift, double* sums) {
  sum_two(n, sums, [=](int64_t i, double& a, double& b) {
    a = static_cast<double>(x[i]) - shift;
    b = a * a;
  });
}

template <class T>
void products(const T* g, const T* x, int64_t n, double mean, double* sums) {
  sum_two(n, sums, [=](int64_t i, double& a, double& b) {
    a = static_cast<double>(g[i]);
    b = a * (static_cast<double>(x[i]) - mean);
  });
}

template <class T>
void normalize(const T* x, int64_t n, T mean, T scale, T beta, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * scale + beta;
}

template <class T>
void gradient(const T* g, const T* x, int64_t n, T mean, T offset, T slope, T scale, T* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = (g[i] - offset - (x[i] - mean) * slope) * scale;
}

}  // namespace

extern const BatchNormLoops<float> kBatchNormLoopsF32;
extern const BatchNormLoops<double> kBatchNormLoopsF64;
const BatchNormLoops<float> kBatchNormLoopsF32 = {moments<float>, products<float>, normalize<float>,
                                                  gradient<float>};
const BatchNormLoops<double> kBatchNormLoopsF64 = {moments<double>, products<double>, normalize<double>,
                                                   gradient<double>};

}  // namespace wholestep::WHOLESTEP_ISA
