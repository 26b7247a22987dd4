// Softmax and cross-entropy row by row, as the CPU's: exponentials of x minus the row's largest element, their
// sum in f64, a group of G threads a row. The elements are read again for every pass.
#pragma once
#include "elements.cuh"
#include "math.cuh"

/// The largest of x [N] and the sum of exp(x - largest), which a NaN or infinity makes NaN.
template <class T>
struct RowSum {
  T top;
  double total;
};
template <int64_t N, int G, class T>
__device__ RowSum<T> sum_exponentials(const T* x, bool inside, char* shared) {
  using Block = Groups<G>;
  T top = inside ? x[0] : T(0);
  if (inside)
#pragma unroll 4
    for (int i = Block::member(); i < N; i += G) top = x[i] > top ? x[i] : top;
  top = Block::fold(top, [](T a, T b) { return b > a ? b : a; }, shared);
  double total = 0;
  if (inside)
#pragma unroll 4
    for (int i = Block::member(); i < N; i += G) total += double(math::exp(T(x[i] - top)));
  return {top, Block::sum(total, shared)};
}

/// Calls row(r, inside) for the block's rows, one for each group at a time; all threads stay together.
template <class Rows, int G, class Row>
__device__ void for_rows(Lane lane, Row row) {
  const auto run = Rows::of(lane);
  for (auto first = run.begin; first < run.end; first += Groups<G>::kCount) {
    const int64_t r = first + Groups<G>::group();
    row(r, r < run.end);
  }
}

template <class Rows, int64_t N, int G, class T>
__device__ void softmax_rows(Lane lane, const T* x, T* y, char*) {
  for_rows<Rows, G>(lane, [&](int64_t r, bool inside) {
    const RowSum<T> sum = sum_exponentials<N, G>(x + r * N, inside, lane.shared);
    const T factor = T(1 / sum.total);
    if (inside)
#pragma unroll 4
      for (int i = Groups<G>::member(); i < N; i += G) y[r * N + i] = math::exp(T(x[r * N + i] - sum.top)) * factor;
  });
}

template <class Rows, int64_t N, int G, class T>
__device__ void log_softmax_rows(Lane lane, const T* x, T* y, char*) {
  for_rows<Rows, G>(lane, [&](int64_t r, bool inside) {
    const RowSum<T> sum = sum_exponentials<N, G>(x + r * N, inside, lane.shared);
    const T rest = T(log(sum.total));
    if (inside)
#pragma unroll 4
      for (int i = Groups<G>::member(); i < N; i += G) y[r * N + i] = x[r * N + i] - sum.top - rest;
  });
}

/// NaN for a label that is none.
template <class Rows, int64_t N, int G, class T, class Label>
__device__ void cross_entropy_rows(Lane lane, const T* x, const Label* labels, T* losses, char*) {
  for_rows<Rows, G>(lane, [&](int64_t r, bool inside) {
    const RowSum<T> sum = sum_exponentials<N, G>(x + r * N, inside, lane.shared);
    if (!inside || Groups<G>::member() != 0) return;
    const int64_t label = labels[r];
    losses[r] = label >= 0 && label < N ? T(log(sum.total) - (double(x[r * N + label]) - double(sum.top)))
                                        : T(__longlong_as_double(0x7ff8000000000000ll));
  });
}

template <class Rows, int64_t N, int G, class T, class Label>
__device__ void cross_entropy_dx_rows(Lane lane, const T* x, const Label* labels, const T* g, T* dx, char*) {
  for_rows<Rows, G>(lane, [&](int64_t r, bool inside) {
    const RowSum<T> sum = sum_exponentials<N, G>(x + r * N, inside, lane.shared);
    if (!inside) return;
    const int64_t label = labels[r];
    const double gradient = double(g[r]),
                 scale = label >= 0 && label < N ? gradient / sum.total : __longlong_as_double(0x7ff8000000000000ll);
#pragma unroll 4
    for (int i = Groups<G>::member(); i < N; i += G) {
      const T e = math::exp(T(x[r * N + i] - sum.top));
      dx[r * N + i] = i == label ? T(double(e) * scale - gradient) : e * T(scale);
    }
  });
}
