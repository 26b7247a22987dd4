// Softmax and cross-entropy row by row, as the CPU's: exponentials of x minus the row's largest element,
// their sum in f64, a group of G threads a row.
#pragma once
#include "elements.cuh"
#include "math.cuh"

/// A row x [N] as a group of G threads reads it, V neighbours at a time: into registers where it fits there, else from
/// memory in every pass.
template <int64_t N, int G, class T>
class RowOf {
 public:
  static constexpr int V = N % 4 == 0 ? 4 : 1, kSteps = (N + G * V - 1) / (G * V);
  static constexpr bool kHeld = kSteps * V <= 32;
  using Values = Vector<T, V>;

  __device__ RowOf(const T* x, bool inside) : x_(x), inside_(inside) {
    if constexpr (kHeld)
#pragma unroll
      for (int step = 0; step < kSteps; ++step)
        if (inside && at(step) < N) held_[step] = *reinterpret_cast<const Values*>(x + at(step));
  }
  /// Calls use(i, values) for the thread's elements i to i + V - 1, which it may change for the next pass if they are held.
  template <class Use>
  __device__ void each(Use use) {
    if (!inside_) return;
    if constexpr (kHeld) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step)
        if (at(step) < N) use(at(step), held_[step]);
    } else {
#pragma unroll 4
      for (int i = at(0); i < N; i += G * V) {
        Values values = *reinterpret_cast<const Values*>(x_ + i);
        use(i, values);
      }
    }
  }

 private:
  __device__ static int at(int step) { return (step * G + Groups<G>::member()) * V; }
  const T* x_;
  bool inside_;
  Values held_[kHeld ? kSteps : 1];
};

/// The largest of x [N] and the sum of exp(x - largest), which a NaN or infinity makes NaN.
template <class T>
struct RowSum {
  T top;
  double total;
};
/// A row that is held is left as exp(x - largest) where REPLACE.
template <bool REPLACE, int64_t N, int G, class T>
__device__ RowSum<T> sum_exponentials(RowOf<N, G, T>& row, const T* x, bool inside, char* shared) {
  using Block = Groups<G>;
  using Values = typename RowOf<N, G, T>::Values;
  T top = inside ? x[0] : T(0);
  row.each([&](int, Values& values) {
    for (T value : values.at) top = value > top ? value : top;
  });
  top = Block::fold(
      top, [](T a, T b) { return b > a ? b : a; }, shared);
  double total = 0;
  row.each([&](int, Values& values) {
    for (T& value : values.at) {
      const T e = math::exp(T(value - top));
      total += double(e);
      if (REPLACE) value = e;
    }
  });
  return {top, Block::sum(total, shared)};
}
/// exp(value - top), of a value that sum_exponentials may have replaced.
template <int64_t N, int G, class T>
__device__ T exponential(const RowOf<N, G, T>&, T value, T top) {
  if constexpr (RowOf<N, G, T>::kHeld) return value;
  else return math::exp(T(value - top));
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
    RowOf<N, G, T> elements(x + r * N, inside);
    const RowSum<T> sum = sum_exponentials<true>(elements, x + r * N, inside, lane.shared);
    const T factor = T(1 / sum.total);
    elements.each([&](int i, auto& values) {
      for (T& value : values.at) value = exponential(elements, value, sum.top) * factor;
      *reinterpret_cast<decltype(&values)>(y + r * N + i) = values;
    });
  });
}

template <class Rows, int64_t N, int G, class T>
__device__ void log_softmax_rows(Lane lane, const T* x, T* y, char*) {
  for_rows<Rows, G>(lane, [&](int64_t r, bool inside) {
    RowOf<N, G, T> elements(x + r * N, inside);
    const RowSum<T> sum = sum_exponentials<false>(elements, x + r * N, inside, lane.shared);
    const T rest = T(log(sum.total));
    elements.each([&](int i, auto& values) {
      for (T& value : values.at) value = value - sum.top - rest;
      *reinterpret_cast<decltype(&values)>(y + r * N + i) = values;
    });
  });
}

/// log(sum exp(x)) - x[label], or NaN for a label that is none. The sum is at least 1, and a float keeps what it is above.
template <int64_t N>
__device__ float loss_of(const RowSum<float>& sum, const float* x, int64_t label) {
  return label >= 0 && label < N ? log1pf(float(sum.total - 1.0)) - (x[label] - sum.top) : __int_as_float(0x7fc00000);
}
template <int64_t N>
__device__ double loss_of(const RowSum<double>& sum, const double* x, int64_t label) {
  return label >= 0 && label < N ? log(sum.total) - (x[label] - sum.top) : __longlong_as_double(0x7ff8000000000000ll);
}
/// gradient (softmax(x) - one_hot(label)) to dx, or NaNs, from exponentials that sum_exponentials may have left.
template <int64_t N, int G, class T>
__device__ void store_gradient(RowOf<N, G, T>& elements, const RowSum<T>& sum, int64_t label, double gradient, T* dx) {
  const double scale = label >= 0 && label < N ? gradient / sum.total : __longlong_as_double(0x7ff8000000000000ll);
  elements.each([&](int i, auto& values) {
#pragma unroll
    for (int k = 0; k < elements.V; ++k) {
      const T e = exponential(elements, values.at[k], sum.top);
      values.at[k] = i + k == label ? T(double(e) * scale - gradient) : e * T(scale);
    }
    *reinterpret_cast<decltype(&values)>(dx + i) = values;
  });
}

template <class Rows, int64_t N, int G, class T, class Label>
__device__ void cross_entropy_rows(Lane lane, const T* x, const Label* labels, T* losses, char*) {
  for_rows<Rows, G>(lane, [&](int64_t r, bool inside) {
    const int64_t label = inside ? labels[r] : 0;  // on its way while the row is summed
    RowOf<N, G, T> elements(x + r * N, inside);
    const RowSum<T> sum = sum_exponentials<false>(elements, x + r * N, inside, lane.shared);
    if (inside && Groups<G>::member() == 0) losses[r] = loss_of<N>(sum, x + r * N, label);
  });
}

template <class Rows, int64_t N, int G, class T, class Label>
__device__ void cross_entropy_dx_rows(Lane lane, const T* x, const Label* labels, const T* g, T* dx, char*) {
  for_rows<Rows, G>(lane, [&](int64_t r, bool inside) {
    const int64_t label = inside ? labels[r] : 0;
    const double gradient = inside ? double(g[r]) : 0;
    RowOf<N, G, T> elements(x + r * N, inside);
    const RowSum<T> sum = sum_exponentials<true>(elements, x + r * N, inside, lane.shared);
    if (inside) store_gradient(elements, sum, label, gradient, dx + r * N);
  });
}

/// GRADIENT: the bits of a double, that of every loss. Half of the block's groups make the gradients, and the other half
/// meanwhile the losses, of the same rows.
template <class Rows, int64_t N, int G, uint64_t GRADIENT, class T, class Label>
__device__ void cross_entropy_with_dx_rows(Lane lane, const T* x, const Label* labels, T* losses, T* dx, char*) {
  constexpr int at_once = (Groups<G>::kCount + 1) / 2;
  const int group = Groups<G>::group() % at_once;
  const bool of_loss = Groups<G>::group() >= at_once || Groups<G>::kCount == 1;
  const auto run = Rows::of(lane);
  for (auto first = run.begin; first < run.end; first += at_once) {
    const int64_t r = first + group;
    const bool inside = r < run.end;
    const int64_t label = inside ? labels[r] : 0;
    RowOf<N, G, T> elements(x + r * N, inside);
    const RowSum<T> sum = sum_exponentials<true>(elements, x + r * N, inside, lane.shared);
    if (!inside) continue;
    if (of_loss && Groups<G>::member() == 0) losses[r] = loss_of<N>(sum, x + r * N, label);
    if (!of_loss || Groups<G>::kCount == 1)
      store_gradient(elements, sum, label, double(T(__longlong_as_double(GRADIENT))), dx + r * N);
  }
}
