// Random training steps compiled for a GPU, beside the same steps eagerly on the host.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/cuda_device.h"
#include "support/op_case.h"
#include "support/random_program.h"

namespace wholestep::test {
namespace {

/// Within 1e-3 of the largest element of each tensor.
bool same_numbers(const Outcome& a, const Outcome& b) {
  return std::ranges::equal(a, b, [](const Tensor& x, const Tensor& y) {
    std::vector<double> is = as_doubles(x), should = as_doubles(y);
    double largest = 1e-2;
    for (double value : should) largest = std::max(largest, std::abs(value));
    return std::ranges::equal(is, should, [&](double p, double q) {
      return std::abs(p - q) <= 1e-3 * largest || (std::isnan(p) && std::isnan(q));
    });
  });
}

bool disagree(const RandomProgram& program) {
  return !same_numbers(run_compiled(program, {.backend = &cuda_backend()}), run_eagerly(program));
}

constexpr uint64_t kGroups = 16, kPrograms = 12;

class CudaRandomPrograms : public testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Groups, CudaRandomPrograms, testing::Range(uint64_t{0}, kGroups));

TEST_P(CudaRandomPrograms, AgreeWithTheHost) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  ExactF32 exact;
  for (uint64_t k = 0; k < kPrograms; ++k) {
    const uint64_t seed = GetParam() + kGroups * k;
    RandomProgram program = random_program(seed, 3 + static_cast<int>(seed % 38));
    if (!disagree(program)) continue;
    FAIL() << "seed " << seed << ", already in\n" << to_string(shrunk(program, disagree));
  }
}

}  // namespace
}  // namespace wholestep::test
