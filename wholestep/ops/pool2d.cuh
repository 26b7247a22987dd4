// Pooling: a thread for every result. Gradients are gathered: an input adds up, in their order, what the
// windows that hold it give, so nothing is written twice.
#pragma once
#include "elements.cuh"

// Windows of one axis: window o covers inputs [begin(o), end(o)); input i is in windows [first(i), last(i)).

/// KERNEL inputs every STRIDE, cut to the input.
template <int IN, int OUT, int KERNEL, int STRIDE, int PADDING>
struct Sliding {
  static constexpr int kIn = IN, kOut = OUT, kSize = PADDING == 0 ? KERNEL : 0;
  static constexpr bool kApart = KERNEL <= STRIDE && PADDING == 0;  // no input is in two windows
  static constexpr bool kTiles = KERNEL == STRIDE && PADDING == 0 && IN == OUT * KERNEL && KERNEL <= 8;  // and each in one
  static int window(int i) { return i / STRIDE; }                   // the one that may hold it
  static int begin(int o) { return o * STRIDE > PADDING ? o * STRIDE - PADDING : 0; }
  static int end(int o) { return o * STRIDE - PADDING + KERNEL < IN ? o * STRIDE - PADDING + KERNEL : IN; }
  static int first(int i) { return i + PADDING < KERNEL ? 0 : (i + PADDING - KERNEL) / STRIDE + 1; }
  static int last(int i) { return (i + PADDING) / STRIDE + 1 < OUT ? (i + PADDING) / STRIDE + 1 : OUT; }
};

/// floor(o IN / OUT) to ceil((o + 1) IN / OUT).
template <int IN, int OUT>
struct Bins {
  using I = IndexFor<int64_t(IN + 1) * (OUT + 1)>;
  static constexpr int kIn = IN, kOut = OUT, kSize = IN % OUT == 0 ? IN / OUT : 0;
  static constexpr bool kApart = false, kTiles = false;
  static int begin(int o) { return int(I(o) * I(IN) / I(OUT)); }
  static int end(int o) { return int((I(o + 1) * I(IN) + I(OUT - 1)) / I(OUT)); }
  static int first(int i) { return int(I(i) * I(OUT) / I(IN)); }
  static int last(int i) { return int((I(i + 1) * I(OUT) + I(IN - 1)) / I(IN)); }
};

/// Every input may be in every window.
template <int IN, int OUT>
struct Anywhere {
  static constexpr int kIn = IN, kOut = OUT;
  static constexpr bool kApart = false, kTiles = false;
  static int first(int) { return 0; }
  static int last(int) { return OUT; }
};

/// Calls visit(place in the plane) for the inputs of a window, row by row.
template <class Y, class X, class Visit>
__device__ void for_window(int oy, int ox, Visit visit) {
  const int top = Y::begin(oy), left = X::begin(ox);
  if constexpr (Y::kSize * X::kSize > 0 && Y::kSize * X::kSize <= 32) {
#pragma unroll
    for (int h = 0; h < Y::kSize; ++h)
#pragma unroll
      for (int w = 0; w < X::kSize; ++w) visit((top + h) * X::kIn + left + w);
  } else {
    for (int h = top; h < Y::end(oy); ++h)
      for (int w = left; w < X::end(ox); ++w) visit(h * X::kIn + w);
  }
}

/// Calls run(e, start of the plane of e among planes of OTHER elements, row, column) for the block's
/// elements, of planes HEIGHT x WIDTH.
template <class E, int64_t MOST, int HEIGHT, int WIDTH, int64_t OTHER, class Run>
__device__ void for_pixels(Lane lane, Run run) {
  using I = IndexFor<MOST>;
  const auto own = E::of(lane);
  for (I e = I(own.begin) + threadIdx.x; e < own.end; e += kThreads) {
    const int pixel = int(e % I(HEIGHT * WIDTH));
    run(e, e / I(HEIGHT * WIDTH) * I(OTHER), pixel / WIDTH, pixel % WIDTH);
  }
}

/// Neighbours of a row that one instruction moves, all of a window or two: 0 where there is no such number.
template <class Y, class X>
constexpr int tiled_vector() {
  if constexpr (Y::kTiles && X::kTiles) return X::kSize == 2 ? (X::kOut % 2 == 0 ? 4 : 2) : X::kSize == 4 ? 4 : 0;
  return 0;
}

/// Of equal elements the first; NaN where there is one.
template <class E, int64_t MOST, class Y, class X, class T>
__device__ void max_pool2d(Lane lane, const T* x, T* y, int32_t* argmax, char*) {
  auto take = [](T value, int at, T& most, int& best) {
    if (value > most || (value != value && most == most)) most = value, best = at;
  };
  if constexpr (constexpr int V = tiled_vector<Y, X>(); V > 0) {
    using I = IndexFor<MOST>;
    constexpr int P = V / X::kSize;  // neighbouring windows
    const auto own = E::of(lane);
    for (I e = I(own.begin) + threadIdx.x * P; e < own.end; e += kThreads * P) {
      const int window = int(e % I(Y::kOut * X::kOut));
      const int first = window / X::kOut * (Y::kSize * X::kIn) + window % X::kOut * X::kSize;
      const T* from = x + e / I(Y::kOut * X::kOut) * I(int64_t(Y::kIn) * X::kIn) + first;
      Vector<T, P> most;
      Vector<int32_t, P> best;
#pragma unroll
      for (int h = 0; h < Y::kSize; ++h) {
        const auto row = *reinterpret_cast<const Vector<T, V>*>(from + h * X::kIn);
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const int p = v / X::kSize, at = first + h * X::kIn + v;
          if (h == 0 && v % X::kSize == 0) most.at[p] = row.at[v], best.at[p] = at;
          else take(row.at[v], at, most.at[p], best.at[p]);
        }
      }
      *reinterpret_cast<Vector<T, P>*>(y + e) = most;
      *reinterpret_cast<Vector<int32_t, P>*>(argmax + e) = best;
    }
  } else {
    for_pixels<E, MOST, Y::kOut, X::kOut, int64_t(Y::kIn) * X::kIn>(
        lane, [&](auto e, auto plane, int oy, int ox) {
          int best = Y::begin(oy) * X::kIn + X::begin(ox);
          T most = x[plane + best];
          for_window<Y, X>(oy, ox, [&](int at) { take(x[plane + at], at, most, best); });
          y[e] = most;
          argmax[e] = best;
        });
  }
}

template <class E, int64_t MOST, class Y, class X, class T>
__device__ void max_pool2d_dx(Lane lane, const T* g, const int32_t* argmax, T* dx, char*) {
  if constexpr (constexpr int V = tiled_vector<Y, X>(); V > 0) {
    using I = IndexFor<MOST>;
    constexpr int P = V / X::kSize;
    const auto own = E::of(lane);
    for (I e = I(own.begin) + threadIdx.x * V; e < own.end; e += kThreads * V) {
      const int pixel = int(e % I(Y::kIn * X::kIn));
      const int window = pixel / (Y::kSize * X::kIn) * X::kOut + pixel % X::kIn / X::kSize;
      const I o = e / I(Y::kIn * X::kIn) * I(Y::kOut * X::kOut) + window;
      const auto places = *reinterpret_cast<const Vector<int32_t, P>*>(argmax + o);
      const auto values = *reinterpret_cast<const Vector<T, P>*>(g + o);
      Vector<T, V> to;
#pragma unroll
      for (int v = 0; v < V; ++v) to.at[v] = places.at[v / X::kSize] == pixel + v ? values.at[v / X::kSize] : T(0);
      *reinterpret_cast<Vector<T, V>*>(dx + e) = to;
    }
    return;
  } else if constexpr (Y::kApart && X::kApart) {
    // An input is in one window at most: its place is compared with that of the window's maximum.
    using I = IndexFor<MOST>;
    const auto own = E::of(lane);
    constexpr int U = 4;
    for (I first = I(own.begin) + threadIdx.x; first < own.end; first += kThreads * U) {
      int32_t places[U];
      T values[U];
#pragma unroll
      for (int u = 0; u < U; ++u) {
        const I e = first + u * kThreads;
        const int pixel = int(e % I(Y::kIn * X::kIn)), oy = Y::window(pixel / X::kIn), ox = X::window(pixel % X::kIn);
        places[u] = -1;
        if (e >= own.end || oy >= Y::kOut || ox >= X::kOut) continue;
        const I o = e / I(Y::kIn * X::kIn) * I(Y::kOut * X::kOut) + oy * X::kOut + ox;
        places[u] = argmax[o];
        values[u] = g[o];
      }
#pragma unroll
      for (int u = 0; u < U; ++u) {
        const I e = first + u * kThreads;
        if (e < own.end) dx[e] = places[u] == int(e % I(Y::kIn * X::kIn)) ? values[u] : T(0);
      }
    }
    return;
  }
  for_pixels<E, MOST, Y::kIn, X::kIn, int64_t(Y::kOut) * X::kOut>(
      lane, [&](auto e, auto plane, int h, int w) {
        T total = 0;
        for (int oy = Y::first(h); oy < Y::last(h); ++oy)
          for (int ox = X::first(w); ox < X::last(w); ++ox) {
            const auto o = plane + oy * X::kOut + ox;
            if (argmax[o] == h * X::kIn + w) total += g[o];
          }
        dx[e] = total;
      });
}

/// DIVISOR 0: the number of elements of each window.
template <class E, int64_t MOST, class Y, class X, int64_t DIVISOR, class T>
__device__ void avg_pool2d(Lane lane, const T* x, T* y, char*) {
  for_pixels<E, MOST, Y::kOut, X::kOut, int64_t(Y::kIn) * X::kIn>(
      lane, [&](auto e, auto plane, int oy, int ox) {
        double total = 0;
        for_window<Y, X>(oy, ox, [&](int at) { total += double(x[plane + at]); });
        if constexpr (DIVISOR > 0) y[e] = T(total / double(DIVISOR));
        else y[e] = T(total / double((Y::end(oy) - Y::begin(oy)) * (X::end(ox) - X::begin(ox))));
      });
}

template <class E, int64_t MOST, class Y, class X, int64_t DIVISOR, class T>
__device__ void avg_pool2d_dx(Lane lane, const T* g, T* dx, char*) {
  for_pixels<E, MOST, Y::kIn, X::kIn, int64_t(Y::kOut) * X::kOut>(
      lane, [&](auto e, auto plane, int h, int w) {
        double total = 0;
        for (int oy = Y::first(h); oy < Y::last(h); ++oy)
          for (int ox = X::first(w); ox < X::last(w); ++ox) {
            const double value = double(g[plane + oy * X::kOut + ox]);
            if constexpr (DIVISOR > 0) total += value;
            else total += value / double((Y::end(oy) - Y::begin(oy)) * (X::end(ox) - X::begin(ox)));
          }
        dx[e] = T(DIVISOR > 0 ? total / double(DIVISOR > 0 ? DIVISOR : 1) : total);
      });
}
