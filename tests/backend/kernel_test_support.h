// What tests of raw kernels share: reproducible numbers, poisoned scratch memory with a fence, bit
// comparison.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "wholestep/backend/cpu/kernels.h"
#include "wholestep/base/philox.h"

namespace wholestep {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Uniform in [-1, 1), never zero often enough to hide a missing term.
inline std::vector<float> random_floats(int64_t count, uint64_t seed) {
  PhiloxStream stream(seed, 7);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = stream.uniform(-1, 1);
  return values;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// How far a sum of `terms` products may be from the exact one; `magnitude` is the sum of their absolute
/// values.
inline double error_bound(int64_t terms, double magnitude) {
  return 4 * double{std::numeric_limits<float>::epsilon()} * std::sqrt(static_cast<double>(terms)) *
         magnitude;
}

/// Scratch of exactly the size asked for, aligned to 64 bytes, with a fence behind it.
class Workspace {
 public:
  explicit Workspace(int64_t bytes)
      : floats_(static_cast<size_t>(bytes) / sizeof(float)), memory_(floats_ + 2 * kFence) {
    poison();
  }
  float* data() {
    auto address = reinterpret_cast<uintptr_t>(memory_.data());
    return memory_.data() + (64 - address % 64) % 64 / sizeof(float);
  }
  void poison() { std::fill(memory_.begin(), memory_.end(), kNaN); }
  bool fence_is_intact() {
    const float* fence = data() + floats_;
    for (size_t i = 0; i < kFence; ++i)
      if (std::memcmp(fence + i, &kNaN, sizeof kNaN) != 0) return false;
    return true;
  }

 private:
  static constexpr size_t kFence = 16;
  size_t floats_;
  std::vector<float> memory_;
};

/// Whether the kernels of `isa` fuse multiplication and addition, as gemm.h says.
inline bool fuses(Isa isa) {
#ifdef __FP_FAST_FMAF
  return true;
#else
  return isa != Isa::portable;
#endif
}

}  // namespace wholestep
