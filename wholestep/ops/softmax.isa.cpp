// Rows of softmax, vectorised by the compiler; a row's exponentials are written where its results will be.
#include "wholestep/ops/math.isa.h"
#include "wholestep/ops/softmax_loops.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

template <class T>
T largest(const T* x, int64_t n) {
  typedef T Vector __attribute__((vector_size(64)));
  constexpr int64_t kWidth = 64 / sizeof(T);
  T most = x[0];
  Vector lanes = most - Vector{}, value;
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    __builtin_memcpy(&value, x + i, sizeof value);
    lanes = value > lanes ? value : lanes;
  }
  for (int64_t k = 0; k < kWidth; ++k) most = lanes[k] > most ? lanes[k] : most;
  for (; i < n; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

template <class T>
void exponentials(const T* x, int64_t n, T top, T* e) {
  for (int64_t i = 0; i < n; ++i) e[i] = math::exp(x[i] - top);
}

template <class T>
void scale(T* y, int64_t n, T factor) {
  for (int64_t i = 0; i < n; ++i) y[i] *= factor;
}

template <class T>
void shift(const T* x, int64_t n, T top, T rest, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] - top - rest;
}

template <class T>
constexpr SoftmaxLoops<T> kLoops = {largest<T>, exponentials<T>, scale<T>, shift<T>};

}  // namespace

extern const SoftmaxLoops<float> kSoftmaxLoopsF32;
extern const SoftmaxLoops<double> kSoftmaxLoopsF64;
const SoftmaxLoops<float> kSoftmaxLoopsF32 = kLoops<float>;
const SoftmaxLoops<double> kSoftmaxLoopsF64 = kLoops<double>;

}  // namespace wholestep::WHOLESTEP_ISA
