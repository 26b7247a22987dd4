// Copies that gather: every element of the result is read where it comes from, V side by side at a time.
#pragma once
#include "elements.cuh"

/// Element i of the result is at OFFSET + From::offset(i) of x.
template <class E, int64_t MOST, int64_t OFFSET, class From, int V, class T>
__device__ void strided_copy(Lane lane, const T* x, T* y, char*) {
  using I = IndexFor<MOST>;
  const auto own = E::of(lane);
  if (x == y) return;  // a reshape that lies over its operand
#pragma unroll 2
  for (I i = I(own.begin) + threadIdx.x * V; i < own.end; i += kThreads * V) {
    const T* from = x + OFFSET + From::offset(i);
    Vector<T, V> values;
    if constexpr (From::kInnerStride == 1) values = *reinterpret_cast<const Vector<T, V>*>(from);
    else
      for (T& value : values.at) value = *from;
    *reinterpret_cast<Vector<T, V>*>(y + i) = values;
  }
}

/// Zeros around x: of every WHOLE elements PART come from x, after BEFORE.
template <class E, int64_t MOST, int64_t WHOLE, int64_t BEFORE, int64_t PART, int V, class T>
__device__ void pad_copy(Lane lane, const T* x, T* y, char*) {
  using I = IndexFor<MOST>;
  const auto own = E::of(lane);
#pragma unroll 2
  for (I i = I(own.begin) + threadIdx.x * V; i < own.end; i += kThreads * V) {
    const I outer = i / I(WHOLE), place = i % I(WHOLE);
    Vector<T, V> values = {};
    if (place >= I(BEFORE) && place < I(BEFORE + PART))
      values = *reinterpret_cast<const Vector<T, V>*>(x + outer * I(PART) + (place - I(BEFORE)));
    *reinterpret_cast<Vector<T, V>*>(y + i) = values;
  }
}
