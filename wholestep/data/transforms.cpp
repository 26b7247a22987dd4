// Channel statistics: of u8 from a histogram of values, exact, in one pass; of f32 in two.
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

struct Moments {
  std::vector<float> mean, std;
};

/// Of `size` samples, `sample(i)` being the values of one, channel after channel.
template <class Sample>
Moments moments_of(int64_t size, size_t channels, Sample sample) {
  if (channels == 0) return {};
  auto means = [&](auto term) {  // of each channel, over all samples
    std::vector<double> sums(channels);
    double count = 0;
    for (int64_t i = 0; i < size; ++i) {
      std::span<const float> values = sample(i);
      size_t plane = values.size() / channels;
      for (size_t j = 0; j < values.size(); ++j)
        sums[j / plane] += term(static_cast<double>(values[j]), j / plane);
      count += static_cast<double>(plane);
    }
    for (double& sum : sums) sum /= count;
    return sums;
  };
  std::vector<double> mean = means([](double x, size_t) { return x; });
  std::vector<double> variance = means([&](double x, size_t c) { return (x - mean[c]) * (x - mean[c]); });
  Moments result;
  for (size_t c = 0; c < channels; ++c) {
    result.mean.push_back(static_cast<float>(mean[c]));
    float std = static_cast<float>(std::sqrt(variance[c]));
    result.std.push_back(std > 0 ? std : 1.0f);
  }
  return result;
}

Moments moments_of_floats(const Dataset& dataset) {
  std::vector<float> sample(static_cast<size_t>(dataset.sample_shape().numel()));
  return moments_of(dataset.size(), static_cast<size_t>(channels_of(dataset.sample_type())), [&](int64_t i) {
    dataset.read(i, {reinterpret_cast<uint8_t*>(sample.data()), sample.size() * sizeof(float)});
    return std::span<const float>(sample);
  });
}

Moments moments_of_pixels(const Dataset& dataset) {
  std::vector<Histogram> channels(static_cast<size_t>(channels_of(dataset.sample_type())));
  std::vector<uint8_t> sample(static_cast<size_t>(dataset.sample_bytes()));
  for (int64_t i = 0; i < dataset.size(); ++i) {
    dataset.read(i, sample);
    count_values(sample, channels);
  }
  Moments result;
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

}  // namespace

int64_t channels_of(const SampleType& sample) {
  if (sample.shape.rank() >= 2 || (sample.shape.rank() == 1 && sample.dtype == DType::f32))
    return sample.shape[0];
  return 1;
}

Normalization no_normalization(const SampleType& sample) {
  size_t channels = static_cast<size_t>(channels_of(sample)), targets = static_cast<size_t>(sample.targets);
  return {.mean = std::vector<float>(channels, 0.0f),
          .std = std::vector<float>(channels, 1.0f),
          .target_mean = std::vector<float>(targets, 0.0f),
          .target_std = std::vector<float>(targets, 1.0f)};
}

Normalization normalization_of(const Dataset& dataset) {
  if (dataset.size() == 0 || dataset.sample_bytes() == 0)
    throw Error(ErrorCode::kBadData, {.what = "no samples to take mean and standard deviation of"});
  Moments samples = dataset.dtype() == DType::f32 ? moments_of_floats(dataset) : moments_of_pixels(dataset);
  Moments targets = moments_of(dataset.size(), static_cast<size_t>(dataset.num_targets()),
                               [&](int64_t i) { return dataset.targets(i); });
  return {std::move(samples.mean), std::move(samples.std), std::move(targets.mean), std::move(targets.std)};
}

}  // namespace wholestep
