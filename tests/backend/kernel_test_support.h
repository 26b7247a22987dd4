// What tests of raw kernels share: reproducible numbers, poisoned scratch memory with a fence, bit
// comparison.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "wholestep/backend/cpu/kernels.h"
#include "wholestep/base/half.h"
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

/// Rounded to bf16, to nearest even, and widened again.
inline std::vector<float> as_bf16(std::vector<float> values) {
  for (float& value : values) value = static_cast<float>(BFloat16(value));
  return values;
}

/// How far a sum of `terms` products may be from the exact one; `magnitude` is the sum of their absolute
/// values.
inline double error_bound(int64_t terms, double magnitude) {
  return 4 * double{std::numeric_limits<float>::epsilon()} * std::sqrt(static_cast<double>(terms)) *
         magnitude;
}

/// A table of kernels under test: f32 of one instruction set, or bf16 of one.
struct KernelSet {
  Isa isa;
  bool bf16;
  const CpuKernels& kernels() const { return bf16 ? bf16_kernels(isa) : cpu_kernels(isa); }
  std::string name() const { return (bf16 ? "products_on_" : "") + std::string(wholestep::name(isa)); }
};
inline std::vector<KernelSet> all_kernel_sets() {
  std::vector<KernelSet> sets;
  for (Isa isa : available_isas()) sets.push_back({isa, isa > Isa::avx512});
  return sets;
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
