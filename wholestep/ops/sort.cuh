// The order of a row: how many elements come before one is its place.
#pragma once
#include "elements.cuh"

/// NaN comes after every number.
template <class T>
__device__ bool below(T a, T b) {
  return a < b || (a == a && b != b);
}

/// Rows of N; E shares out the elements of all of them.
template <class E, int64_t N, bool DESCENDING, class T>
__device__ void argsort_rows(Lane lane, const T* x, int64_t* out, char*) {
  const auto own = E::of(lane);
  for (auto e = own.begin + threadIdx.x; e < own.end; e += kThreads) {
    const int64_t first = int64_t(e) / N * N, at = int64_t(e) - first;
    const T* row = x + first;
    const T value = row[at];
    int64_t place = 0;
    for (int64_t j = 0; j < N; ++j) {
      const bool before = DESCENDING ? below(value, row[j]) : below(row[j], value),
                 after = DESCENDING ? below(row[j], value) : below(value, row[j]);
      place += before || (!after && j < at);
    }
    out[first + place] = at;
  }
}
