// The poolings that matter most, 2x2 windows side by side over a plane, per instruction set: a vector of
// windows at a time, the last of a row with what lanes there are.
#include <cstdint>
#include <utility>

#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

typedef int32_t Ints __attribute__((vector_size(kWidth * 4)));
typedef double Doubles __attribute__((vector_size(kWidth * 8)));

template <int... i>
Ints twice_lane(std::integer_sequence<int, i...>) {
  return Ints{2 * i...};
}

/// A vector of windows: its place in rows of windows, and which lanes there are of it and of the two vectors
/// of elements it covers.
struct Windows {
  Windows(int64_t first_window, int64_t n)
      : at(first_window),
        lanes(lanes_below(n - at)),
        low(lanes_below(2 * (n - at))),
        high(lanes_below(2 * (n - at) - kWidth)) {}
  int64_t at;
  uint32_t lanes, low, high;
};

struct Best {
  Vec value;
  Ints index;
  WHOLESTEP_INLINE void consider(Vec other, Ints at) {
    const Ints better = (other > value) | ((other != other) & (value == value));
    value = better ? other : value;
    index = better ? at : index;
  }
};

/// fn(windows) for each vector of a row.
template <class Fn>
WHOLESTEP_INLINE void for_each_vector(int64_t n, Fn fn) {
  for (int64_t at = 0; at < n; at += kWidth) fn(Windows(at, n));
}

}  // namespace

void max_pool_2x2_plane(const float* x, int64_t rows, int64_t n, float* y, int32_t* argmax);
void max_pool_2x2_plane_dx(const float* g, const int32_t* argmax, int64_t rows, int64_t n, float* dx);
void average_pool_2x2_plane(const float* x, int64_t rows, int64_t n, float* y);
void average_pool_2x2_plane_dx(const float* g, int64_t rows, int64_t n, float* dx);

void max_pool_2x2_plane(const float* x, int64_t rows, int64_t n, float* y, int32_t* argmax) {
  const Ints columns = twice_lane(std::make_integer_sequence<int, kWidth>());
  for_each_vector(n, [&](const Windows& w) {
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t first = 4 * row * n + 2 * w.at, second = first + 2 * n;
      const Ints upper_at = columns + static_cast<int32_t>(first),
                 lower_at = columns + static_cast<int32_t>(second);
      const Vec a = load_lanes(x + first, w.low), b = load_lanes(x + first + kWidth, w.high);
      const Vec c = load_lanes(x + second, w.low), d = load_lanes(x + second + kWidth, w.high);
      Best best = {shuffle<kEvenLanes>(a, b), upper_at};
      best.consider(shuffle<kOddLanes>(a, b), upper_at + 1);
      best.consider(shuffle<kEvenLanes>(c, d), lower_at);
      best.consider(shuffle<kOddLanes>(c, d), lower_at + 1);
      store_lanes(y + row * n + w.at, best.value, w.lanes);
      store_lanes(reinterpret_cast<float*>(argmax + row * n + w.at), reinterpret_cast<Vec>(best.index),
                  w.lanes);
    }
  });
}

void max_pool_2x2_plane_dx(const float* g, const int32_t* argmax, int64_t rows, int64_t n, float* dx) {
  const Ints columns = twice_lane(std::make_integer_sequence<int, kWidth>());
  for_each_vector(n, [&](const Windows& w) {
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t first = 4 * row * n + 2 * w.at, second = first + 2 * n;
      const Vec gradient = load_lanes(g + row * n + w.at, w.lanes) + zero();
      const Vec chosen = load_lanes(reinterpret_cast<const float*>(argmax + row * n + w.at), w.lanes);
      const Ints at = reinterpret_cast<Ints>(chosen) - columns;
      auto pairs = [&](int64_t begin) {
        const int32_t even_at = static_cast<int32_t>(begin);
        const Vec even = at == even_at ? gradient : zero(), odd = at == even_at + 1 ? gradient : zero();
        store_lanes(dx + begin, shuffle<kFirstPairs>(even, odd), w.low);
        store_lanes(dx + begin + kWidth, shuffle<kLastPairs>(even, odd), w.high);
      };
      pairs(first);
      pairs(second);
    }
  });
}

// Sums in f64, from the first element of a window to the last; a quarter of one is exact.
void average_pool_2x2_plane(const float* x, int64_t rows, int64_t n, float* y) {
  for_each_vector(n, [&](const Windows& w) {
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t first = 4 * row * n + 2 * w.at, second = first + 2 * n;
      const Vec a = load_lanes(x + first, w.low), b = load_lanes(x + first + kWidth, w.high);
      const Vec c = load_lanes(x + second, w.low), d = load_lanes(x + second + kWidth, w.high);
      Doubles total = {};
      total += __builtin_convertvector(shuffle<kEvenLanes>(a, b), Doubles);
      total += __builtin_convertvector(shuffle<kOddLanes>(a, b), Doubles);
      total += __builtin_convertvector(shuffle<kEvenLanes>(c, d), Doubles);
      total += __builtin_convertvector(shuffle<kOddLanes>(c, d), Doubles);
      store_lanes(y + row * n + w.at, __builtin_convertvector(total * 0.25, Vec), w.lanes);
    }
  });
}

void average_pool_2x2_plane_dx(const float* g, int64_t rows, int64_t n, float* dx) {
  for_each_vector(n, [&](const Windows& w) {
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t first = 4 * row * n + 2 * w.at;
      const Vec quarter = load_lanes(g + row * n + w.at, w.lanes) * broadcast(0.25f) + zero();
      const Vec low = shuffle<kFirstPairs>(quarter, quarter), high = shuffle<kLastPairs>(quarter, quarter);
      for (int64_t begin = first; begin <= first + 2 * n; begin += 2 * n) {
        store_lanes(dx + begin, low, w.low);
        store_lanes(dx + begin + kWidth, high, w.high);
      }
    }
  });
}

}  // namespace wholestep::WHOLESTEP_ISA
