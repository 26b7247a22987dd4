// Distributions drawn from a Philox stream.
#include "wholestep/base/philox.h"

#include <cmath>
#include <numbers>

namespace wholestep {

double PhiloxStream::normal() {
  double u = (next() + 1.0) * 0x1p-32;  // (0, 1], so the logarithm is finite
  double angle = 2 * std::numbers::pi * (next() * 0x1p-32);
  return std::sqrt(-2 * std::log(u)) * std::cos(angle);
}

uint64_t PhiloxStream::below(uint64_t bound) {
  // Lemire's multiply-and-reject on 64-bit words ("Fast random integer generation in an interval", 2019).
  while (true) {
    uint64_t word = static_cast<uint64_t>(next()) << 32;
    word |= next();
    __extension__ using uint128 = unsigned __int128;
    uint128 product = static_cast<uint128>(word) * bound;
    uint64_t low = static_cast<uint64_t>(product);
    if (low >= bound || low >= -bound % bound) return static_cast<uint64_t>(product >> 64);
  }
}

}  // namespace wholestep
