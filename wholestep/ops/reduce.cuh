// Reductions: groups of threads fold an output each, neighbours where the reduced elements lie side by side,
// apart where the outputs do. What is long is folded in parts by several blocks, then joined.
#pragma once
#include "elements.cuh"

template <class T>
struct Lowest;
template <>
struct Lowest<float> {
  static float value() { return __int_as_float(0xff800000); }
};
template <>
struct Lowest<double> {
  static double value() { return __longlong_as_double(0xfff0000000000000ull); }
};
template <>
struct Lowest<int32_t> {
  static int32_t value() { return -2147483647 - 1; }
};
template <>
struct Lowest<int64_t> {
  static int64_t value() { return -9223372036854775807ll - 1; }
};
template <>
struct Lowest<uint8_t> {
  static uint8_t value() { return 0; }
};
template <>
struct Lowest<bool> {
  static bool value() { return false; }
};

// How elements x at places r fold into totals, and what a total gives.
template <class T>
struct SumOf {
  using Total = int64_t;
  static Total start() { return 0; }
  static Total take(Total total, T x, int64_t) { return total + Total(x); }
  static Total join(Total a, Total b) { return a + b; }
  static int64_t result(Total total) { return total; }
};
template <class T>
struct FloatingSum {
  using Total = double;
  static Total start() { return 0; }
  static Total take(Total total, T x, int64_t) { return total + Total(x); }
  static Total join(Total a, Total b) { return a + b; }
  static T result(Total total) { return T(total); }
};
template <>
struct SumOf<float> : FloatingSum<float> {};
template <>
struct SumOf<double> : FloatingSum<double> {};

/// NaN wins.
template <class T>
struct MaxOf {
  using Total = T;
  static Total start() { return Lowest<T>::value(); }
  static Total take(Total total, T x, int64_t) { return join(total, x); }
  static Total join(Total a, Total b) { return b > a || b != b ? b : a; }
  static T result(Total total) { return total; }
};

/// A value and where it is; of equal ones the first counts, and NaN wins.
template <class T>
struct Place {
  T value;
  int64_t at;
};
template <class T>
__device__ Place<T> shuffle_xor(Place<T> place, int step) {
  return {shuffle_xor(place.value, step), shuffle_xor(place.at, step)};
}
template <class T>
struct ArgmaxOf {
  using Total = Place<T>;
  static Total start() { return {Lowest<T>::value(), 9223372036854775807ll}; }
  /// Places come in ascending order, so that an equal one is not better.
  static Total take(Total total, T x, int64_t r) {
    bool better = x > total.value || (x != x && total.value == total.value) || total.at == start().at;
    return better ? Total{x, r} : total;
  }
  static Total join(Total a, Total b) {
    bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    bool equal = a.value == b.value || (a_nan && b_nan);
    bool better = equal ? b.at < a.at : b.value > a.value || b_nan;
    return better ? b : a;
  }
  static int64_t result(Total total) { return total.at; }
};

/// Folds totals.
template <class F>
struct JoinOf {
  using Total = typename F::Total;
  static Total start() { return F::start(); }
  static Total take(Total total, Total x, int64_t) { return F::join(total, x); }
  static Total join(Total a, Total b) { return F::join(a, b); }
  static auto result(Total total) { return F::result(total); }
};

/// Outputs [begin, end) from places [first, last) of the reduced axes, at most LENGTH of them, V side by side
/// at a time; several loads are under way before the first is needed.
template <class F, class Kept, class Reduced, int64_t LENGTH, int G, bool APART, int V, class I, class X,
          class Store>
__device__ void fold_outputs(const X* x, I begin, I end, I first, I last, char* shared, Store store) {
  using Block = Groups<G, APART>;
  using Total = typename F::Total;
  constexpr int64_t kSteps = (LENGTH + G * V - 1) / (G * V), kMost = V == 1 ? 8 : 4;
  constexpr int kAhead = kSteps < kMost ? (kSteps > 0 ? kSteps : 1) : kMost;
  for (I tile = begin; tile < end; tile += Block::kCount) {
    const I output = tile + Block::group();
    Total total = F::start();
    if (output < end) {
      const X* base = x + Kept::offset(output);
      for (I r = first + Block::member() * V; r < last; r += kAhead * G * V) {
        Vector<X, V> held[kAhead];
#pragma unroll
        for (int j = 0; j < kAhead; ++j)
          if (r + j * G * V < last)
            held[j] = *reinterpret_cast<const Vector<X, V>*>(base + Reduced::offset(I(r + j * G * V)));
#pragma unroll
        for (int j = 0; j < kAhead; ++j)
          if (r + j * G * V < last)
#pragma unroll
            for (int e = 0; e < V; ++e) total = F::take(total, held[j].at[e], int64_t(r) + j * G * V + e);
      }
    }
    total = Block::fold(
        total, [](Total a, Total b) { return F::join(a, b); }, shared);
    if (Block::member() == 0 && output < end) store(output, total);
  }
}

template <class F, class Outputs, int64_t ELEMENTS, class Kept, class Reduced, int G, bool APART, int V,
          class X, class Y>
__device__ void reduce_outputs(Lane lane, const X* x, Y* y, char*) {
  using I = IndexFor<ELEMENTS>;
  const auto run = Outputs::of(lane);
  fold_outputs<F, Kept, Reduced, Reduced::kExtent, G, APART, V, I>(
      x, I(run.begin), I(run.end), I(0), I(Reduced::kExtent), lane.shared,
      [&](I output, typename F::Total total) { y[output] = F::result(total); });
}

/// Totals [PARTS, kept] of the parts, each of PER_PART places. A block has a tile of outputs of a part, or all of
/// them where parts are rows of the batch.
template <class F, int64_t PARTS, int64_t PER_PART, bool ROWS, int64_t ELEMENTS, class Kept, class Reduced, int G,
          bool APART, int V, class X, class Y>
__device__ void reduce_parts(Lane lane, const X* x, Y*, char* workspace) {
  using I = IndexFor<ELEMENTS>;
  constexpr int64_t kKept = Kept::kExtent, kCount = ROWS ? kKept : Groups<G, APART>::kCount,
                    kTiles = (kKept + kCount - 1) / kCount;
  const int64_t tile = APART ? lane.chunk % kTiles : lane.chunk / PARTS,
                part = APART ? lane.chunk / kTiles : lane.chunk % PARTS;
  const int64_t begin = tile * kCount, end = begin + kCount, first = part * PER_PART, last = first + PER_PART;
  auto* totals = reinterpret_cast<typename F::Total*>(workspace) + part * kKept;
  fold_outputs<F, Kept, Reduced, PER_PART, G, APART, V, I>(
      x, I(begin), I(end < kKept ? end : kKept), I(first),
      I(last < Reduced::kExtent ? last : Reduced::kExtent), lane.shared,
      [&](I output, typename F::Total total) { totals[output] = total; });
}

template <class F, class Outputs, int64_t KEPT, int64_t PARTS, int G, bool APART, class X, class Y>
__device__ void reduce_join(Lane lane, const X*, Y* y, char* workspace) {
  reduce_outputs<JoinOf<F>, Outputs, KEPT * PARTS, Axes<KEPT, 1>, Axes<PARTS, KEPT>, G, APART, 1>(
      lane, reinterpret_cast<const typename F::Total*>(workspace), y, nullptr);
}

constexpr int kSquaresTile = 8 * kThreads;

/// total + the thread's share of the sum of squares of n <= kSquaresTile elements.
template <class T>
__device__ double add_squares(double total, const T* x, int64_t n) {
  auto add = [&](T value) { total += double(value) * double(value); };
  if (n == kSquaresTile) {
    const auto* vectors = reinterpret_cast<const Vector<T, 4>*>(x);
    const Vector<T, 4> values[2] = {vectors[threadIdx.x], vectors[threadIdx.x + kThreads]};
    for (const auto& vector : values)
      for (T value : vector.at) add(value);
  } else {
    for (int i = threadIdx.x; i < n; i += kThreads) add(x[i]);
  }
  return total;
}

/// Begins to read the thread's share of N elements.
template <int N, class T>
struct ShareOf {
  T values[(N + kThreads - 1) / kThreads];
  __device__ explicit ShareOf(const T* x) {
#pragma unroll
    for (int i = threadIdx.x, k = 0; k < sizeof(values) / sizeof(T); ++k, i += kThreads)
      values[k] = i < N ? x[i] : T(0);
  }
  __device__ double plus_squares(double total) const {
    for (T value : values) total += double(value) * double(value);
    return total;
  }
  __device__ double plus(double total) const {
    for (T value : values) total += value;
    return total;
  }
};
