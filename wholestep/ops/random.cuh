// Philox 4x32-10 with the arithmetic of base/philox.h: the same bits as the CPU's random_uniform.
#pragma once
#include "elements.cuh"

__device__ inline uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a + 0x9E3779B97F4A7C15ull * (b + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

__device__ inline Vector<uint32_t, 4> philox(uint64_t key, uint64_t stream, uint64_t block) {
  uint32_t c0 = uint32_t(block), c1 = uint32_t(block >> 32), c2 = uint32_t(stream),
           c3 = uint32_t(stream >> 32);
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    c0 = uint32_t(p1 >> 32) ^ c1 ^ k0;
    c1 = uint32_t(p1);
    c2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c3 = uint32_t(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

/// A thread for every block of four elements; blocks across the ends of the run are drawn on both sides.
template <class E, uint64_t NODE>
__device__ void random_uniform(Lane lane, const int64_t* seed, const int64_t* step, float* out, char*) {
  const uint64_t key = mix(uint64_t(*seed), uint64_t(*step));
  const auto own = E::of(lane);
  const bool aligned = reinterpret_cast<uint64_t>(out) % sizeof(Vector<float, 4>) == 0;  // not where a lane has an odd row
  for (auto at = own.begin / 4 * 4 + threadIdx.x * 4; at < own.end; at += kThreads * 4) {
    const Vector<uint32_t, 4> words = philox(key, NODE, uint64_t(at / 4));
    Vector<float, 4> values;
#pragma unroll
    for (int k = 0; k < 4; ++k) values.at[k] = float(words.at[k] >> 8) * 0x1p-24f;
    if (aligned && at >= own.begin && at + 4 <= own.end) {
      *reinterpret_cast<Vector<float, 4>*>(out + at) = values;
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (at + k >= own.begin && at + k < own.end) out[at + k] = values.at[k];
    }
  }
}
