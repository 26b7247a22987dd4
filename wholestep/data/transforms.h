// From stored values to what a network reads: x = (value - mean[c]) / std[c], per channel; u8 values are
// first divided by 255. Targets that are numbers the same way, each with its own mean and std.
#pragma once
#include <vector>

#include "wholestep/data/dataset.h"

namespace wholestep {

/// Per channel of a sample [C, ...]. Samples of rank 1 have one channel where they are u8, and one a feature
/// where they are f32.
struct Normalization {
  std::vector<float> mean, std;  ///< of u8 values in 0 to 1; std is never 0
  /// Of targets that are numbers; empty where they are classes, or are trained on as they are.
  std::vector<float> target_mean = {}, target_std = {};
};

/// Mean and standard deviation of every channel, and of every target, over all samples: of u8 in integer sums
/// and therefore the same however the data is stored, of f32 in f64. What does not vary gets std 1. kBadData
/// where the dataset is empty.
Normalization normalization_of(const Dataset& dataset);

/// Mean 0 and std 1 of all: u8 values are divided by 255, f32 are taken as they are.
Normalization no_normalization(const SampleType& sample);
int64_t channels_of(const SampleType& sample);  ///< C of [C, H, W]; of [features] 1, or where f32 features

}  // namespace wholestep
