// The one pooling that matters most, 2x2 windows side by side, per instruction set: up to sixteen windows at
// a time, the last ones of a row overlapping those before them instead of a tail.
#include <cstdint>
#include <utility>

namespace wholestep::WHOLESTEP_ISA {
namespace {

#if WHOLESTEP_ISA_avx512
constexpr int kWidest = 16;
#elif WHOLESTEP_ISA_avx2
constexpr int kWidest = 8;
#else
constexpr int kWidest = 4;
#endif

template <int lanes>
struct Windows {
  typedef float Floats __attribute__((vector_size(4 * lanes)));
  typedef int32_t Ints __attribute__((vector_size(4 * lanes)));
  typedef float Unaligned __attribute__((vector_size(4 * lanes), aligned(4), may_alias));
  typedef int32_t UnalignedInts __attribute__((vector_size(4 * lanes), aligned(4), may_alias));

  template <int... i>
  static void run(std::integer_sequence<int, i...>, const float* upper, const float* lower, int32_t first,
                  int32_t second, float* y, int32_t* argmax) {
    const Floats a = *reinterpret_cast<const Unaligned*>(upper),
                 b = *reinterpret_cast<const Unaligned*>(upper + lanes);
    const Floats c = *reinterpret_cast<const Unaligned*>(lower),
                 d = *reinterpret_cast<const Unaligned*>(lower + lanes);
    const Ints columns = {2 * i...};
    Floats best = __builtin_shufflevector(a, b, 2 * i...);
    Ints index = columns + first;
    auto consider = [&](const Floats& value, const Ints& at) {
      const Ints better = (value > best) | ((value != value) & (best == best));
      best = better ? value : best;
      index = better ? at : index;
    };
    consider(__builtin_shufflevector(a, b, 2 * i + 1 ...), columns + (first + 1));
    consider(__builtin_shufflevector(c, d, 2 * i...), columns + second);
    consider(__builtin_shufflevector(c, d, 2 * i + 1 ...), columns + (second + 1));
    *reinterpret_cast<Unaligned*>(y) = best;
    *reinterpret_cast<UnalignedInts*>(argmax) = index;
  }

  template <int... i>
  static void spread(std::integer_sequence<int, i...>, const float* g, const int32_t* argmax, int32_t first,
                     int32_t second, float* upper, float* lower) {
    const Floats gradient = *reinterpret_cast<const Unaligned*>(g) + Floats{};
    const Ints columns = {2 * i...};
    const Ints at = *reinterpret_cast<const UnalignedInts*>(argmax) - columns;
    auto where = [&](int32_t place) { return at == place ? gradient : Floats{}; };
    auto pairs = [&](int32_t place, float* row) {
      const Floats even = where(place), odd = where(place + 1);
      *reinterpret_cast<Unaligned*>(row) = __builtin_shufflevector(even, odd, interleaved(i)...);
      *reinterpret_cast<Unaligned*>(row + lanes) =
          __builtin_shufflevector(even, odd, interleaved(lanes + i)...);
    };
    pairs(first, upper);
    pairs(second, lower);
  }
  static constexpr int interleaved(int k) { return k / 2 + k % 2 * lanes; }

  static void spread_row(const float* g, const int32_t* argmax, int64_t n, int32_t first, int32_t second,
                         float* upper, float* lower) {
    for (int64_t j = 0; j < n; j += lanes) {
      const int64_t at = j + lanes <= n ? j : n - lanes;
      const int32_t column = static_cast<int32_t>(2 * at);
      spread(std::make_integer_sequence<int, lanes>(), g + at, argmax + at, first + column, second + column,
             upper + 2 * at, lower + 2 * at);
    }
  }

  static void row(const float* upper, const float* lower, int64_t n, int32_t first, int32_t second, float* y,
                  int32_t* argmax) {
    for (int64_t j = 0; j < n; j += lanes) {
      const int64_t at = j + lanes <= n ? j : n - lanes;
      const int32_t column = static_cast<int32_t>(2 * at);
      run(std::make_integer_sequence<int, lanes>(), upper + 2 * at, lower + 2 * at, first + column,
          second + column, y + at, argmax + at);
    }
  }
};

}  // namespace

void max_pool_2x2_row(const float* upper, const float* lower, int64_t n, int32_t first, int32_t second,
                      float* y, int32_t* argmax);
void max_pool_2x2_row_dx(const float* g, const int32_t* argmax, int64_t n, int32_t first, int32_t second,
                         float* upper, float* lower);

/// fn(windows) with as many lanes as n windows fill.
template <class Fn>
static void with_lanes(int64_t n, Fn fn) {
  if (kWidest >= 16 && n >= 16) fn(Windows<kWidest>());
  else if (kWidest >= 8 && n >= 8) fn(Windows<(kWidest < 8 ? kWidest : 8)>());
  else if (n >= 4) fn(Windows<4>());
  else fn(Windows<1>());
}

void max_pool_2x2_row(const float* upper, const float* lower, int64_t n, int32_t first, int32_t second,
                      float* y, int32_t* argmax) {
  with_lanes(n, [=](auto windows) { windows.row(upper, lower, n, first, second, y, argmax); });
}

void max_pool_2x2_row_dx(const float* g, const int32_t* argmax, int64_t n, int32_t first, int32_t second,
                         float* upper, float* lower) {
  with_lanes(n, [=](auto windows) { windows.spread_row(g, argmax, n, first, second, upper, lower); });
}

}  // namespace wholestep::WHOLESTEP_ISA
