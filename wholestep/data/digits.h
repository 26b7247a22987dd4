// The built-in data set: digits drawn as a hand would, 28x28 grey, white ink on black. Sample i is a pure
// function of (seed, part, i), so nothing is downloaded and any sample can be drawn alone.
#pragma once
#include <cstdint>
#include <span>

#include "wholestep/data/dataset.h"

namespace wholestep {

constexpr int64_t kDigitSide = 28;

enum class DigitsPart : uint8_t { kTrain, kTest };  ///< disjoint streams of one seed

struct DigitsConfig {
  int64_t train = 20000;  ///< samples
  int64_t test = 4000;
  uint64_t seed = 0;
};

/// Draws sample `index` into `out`, [28, 28], and returns its label, 0 to 9, uniformly distributed.
int32_t draw_digit(uint64_t seed, DigitsPart part, int64_t index, std::span<uint8_t> out);

/// Both parts, held in memory. kBadConfig where a count is negative or over ten million.
DataSplits make_digits(const DigitsConfig& config = {});

}  // namespace wholestep
