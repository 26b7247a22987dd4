// Whole numbers of runs.
#pragma once
#include <cstdint>

namespace wholestep {

/// How many runs of `of` > 0 hold n, and the multiple of `to` that holds it; n may be negative.
constexpr int64_t ceil_div(int64_t n, int64_t of) { return n / of + (n % of > 0); }
constexpr int64_t rounded_up(int64_t n, int64_t to) { return ceil_div(n, to) * to; }

}  // namespace wholestep
