// Sums of sixteen f64 lanes side by side on every instruction set, so the order of additions is the same on
// all of them.
#include "wholestep/ops/batch_norm_loops.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

// Eight f64 lanes at a time, two sets of them side by side; spelled out, since the compiler does not find
// them.
constexpr int64_t kLanes = 8;
typedef double Lanes __attribute__((vector_size(kLanes * 8)));

template <class T>
void load(const T* x, Lanes& lanes) {  // by reference: how vectors are passed depends on the instruction set
  typedef T Narrow __attribute__((vector_size(kLanes * sizeof(T))));
  Narrow values;
  __builtin_memcpy(&values, x, sizeof values);
  lanes = __builtin_convertvector(values, Lanes);
}

double sum(const Lanes& lanes) {
  double total = 0;
  for (int64_t k = 0; k < kLanes; ++k) total += lanes[k];
  return total;
}

template <class T>
void moments(const T* x, int64_t n, double shift, double* sums) {
  Lanes first[2] = {}, second[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes)
    for (int64_t k = 0; k < 2; ++k) {
      Lanes value;
      load(x + i + k * kLanes, value);
      value -= shift;
      first[k] += value;
      second[k] += value * value;
    }
  if (i > 0) sums[0] += sum(first[0] + first[1]), sums[1] += sum(second[0] + second[1]);
  for (; i < n; ++i) {
    double value = static_cast<double>(x[i]) - shift;
    sums[0] += value;
    sums[1] += value * value;
  }
}

template <class T>
void products(const T* g, const T* x, int64_t n, double mean, double* sums) {
  Lanes first[2] = {}, second[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes)
    for (int64_t k = 0; k < 2; ++k) {
      Lanes gradient, value;
      load(g + i + k * kLanes, gradient);
      load(x + i + k * kLanes, value);
      first[k] += gradient;
      second[k] += gradient * (value - mean);
    }
  if (i > 0) sums[0] += sum(first[0] + first[1]), sums[1] += sum(second[0] + second[1]);
  for (; i < n; ++i) {
    double gradient = static_cast<double>(g[i]);
    sums[0] += gradient;
    sums[1] += gradient * (static_cast<double>(x[i]) - mean);
  }
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
