// Channel statistics from a histogram of values: exact, and one pass.
#include "wholestep/data/transforms.h"

#include <array>
#include <cmath>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

using Histogram = std::array<uint64_t, 256>;

void count_values(std::span<const uint8_t> sample, std::vector<Histogram>& channels) {
  size_t plane = sample.size() / channels.size();
  for (size_t c = 0; c < channels.size(); ++c)
    for (uint8_t value : sample.subspan(c * plane, plane)) ++channels[c][value];
}

}  // namespace

int64_t channels_of(const Shape& sample_shape) { return sample_shape.rank() >= 2 ? sample_shape[0] : 1; }

Normalization normalization_of(const Dataset& dataset) {
  if (dataset.size() == 0 || dataset.sample_bytes() == 0)
    throw Error(ErrorCode::kBadData, {.what = "no samples to take mean and standard deviation of"});
  std::vector<Histogram> channels(static_cast<size_t>(channels_of(dataset.sample_shape())));
  std::vector<uint8_t> sample(static_cast<size_t>(dataset.sample_bytes()));
  for (int64_t i = 0; i < dataset.size(); ++i) {
    dataset.read(i, sample);
    count_values(sample, channels);
  }
  Normalization result;
  for (const Histogram& histogram : channels) {
    uint64_t count = 0, sum = 0, squares = 0;
    for (uint64_t value = 0; value < histogram.size(); ++value) {
      count += histogram[value];
      sum += value * histogram[value];
      squares += value * value * histogram[value];
    }
    double n = static_cast<double>(count), mean = static_cast<double>(sum) / n;
    double variance = static_cast<double>(squares) / n - mean * mean;
    result.mean.push_back(static_cast<float>(mean / 255));
    result.std.push_back(variance > 0 ? static_cast<float>(std::sqrt(variance) / 255) : 1.0f);
  }
  return result;
}

}  // namespace wholestep
