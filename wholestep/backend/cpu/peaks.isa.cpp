// Multiply-adds that wait for nothing but each other.
#include "wholestep/backend/cpu/peaks_loop.h"
#include "wholestep/backend/cpu/vector.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

/// More than one takes to finish times how many begin at once, and no more than there are registers.
constexpr int kChains = kWidth == 16 ? 24 : 12;

float multiply_add(int64_t rounds) {
  Vec chains[kChains];
#pragma GCC unroll 24
  for (int k = 0; k < kChains; ++k) chains[k] = broadcast(static_cast<float>(k));
  const Vec factor = broadcast(0.5f), term = broadcast(0.25f);
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 24
    for (int k = 0; k < kChains; ++k) {
      chains[k] = fma(chains[k], factor, term);
      in_register(chains[k]);
    }
  Vec total = zero();
#pragma GCC unroll 24
  for (int k = 0; k < kChains; ++k) total += chains[k];
  return total[0];
}

}  // namespace

extern const PeakLoop kPeakLoop;
const PeakLoop kPeakLoop = {multiply_add, 2 * kWidth* kChains};

}  // namespace wholestep::WHOLESTEP_ISA
