// From stored u8 values to what a network reads: x = (value / 255 - mean[c]) / std[c], per channel.
#pragma once
#include <vector>

#include "wholestep/data/dataset.h"

namespace wholestep {

/// Per channel of a sample [C, ...]; samples of rank 1 have one channel.
struct Normalization {
  std::vector<float> mean, std;  ///< of values in 0 to 1; std is never 0
};

/// Mean and standard deviation of every channel over all samples, in integer sums and therefore the same
/// however the data is stored. A channel without variation gets std 1. kBadData where the dataset is empty.
Normalization normalization_of(const Dataset& dataset);

int64_t channels_of(const Shape& sample_shape);  ///< C of [C, H, W], 1 of [features]

}  // namespace wholestep
