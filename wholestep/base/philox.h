// Counter-based randomness: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011). A value is a pure function of (key, counter): nothing to store, nothing to race on, the same on
// every thread count.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace wholestep {

using PhiloxBlock = std::array<uint32_t, 4>;

/// Four independent 32-bit words for one counter.
inline PhiloxBlock philox(uint64_t key, PhiloxBlock counter) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = 0xD2511F53ull * counter[0], p1 = 0xCD9E8D57ull * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

/// The counter of element `index` of stream `stream`: stream in the upper half, index / 4 in the lower.
inline PhiloxBlock philox_counter(uint64_t stream, uint64_t block) {
  return {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(stream),
          static_cast<uint32_t>(stream >> 32)};
}

/// Uniform in [0, 1) on a grid of 2^-24, exact in f32.
inline float uniform01(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

/// A sequential view for host code (initialisers, generators): draws word 0, 1, 2, ... of (key, stream).
class PhiloxStream {
 public:
  PhiloxStream(uint64_t key, uint64_t stream) : key_(key), stream_(stream) {}
  uint32_t next() {
    if (used_ == 4) block_ = philox(key_, philox_counter(stream_, counter_++)), used_ = 0;
    return block_[used_++];
  }
  float uniform() { return uniform01(next()); }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  double normal();                 ///< standard normal, Box-Muller in f64
  uint64_t below(uint64_t bound);  ///< uniform integer in [0, bound), without modulo bias; bound >= 1

 private:
  uint64_t key_, stream_, counter_ = 0;
  PhiloxBlock block_{};
  size_t used_ = 4;
};

/// A well-mixed 64-bit value of two (splitmix64 finaliser): derives keys and streams from seeds, epochs and
/// names.
constexpr uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a + 0x9E3779B97F4A7C15ull * (b + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

}  // namespace wholestep
