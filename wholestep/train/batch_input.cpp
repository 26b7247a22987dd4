// Slots, gathers and normalisation of a batch.
#include "wholestep/train/batch_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/gather.h"

namespace wholestep {
namespace {

TensorType values_type(int64_t batch, const SampleType& sample) {
  Shape shape = {batch};
  for (int64_t extent : sample.shape) shape.push_back(extent);
  return {sample.dtype, shape};
}
TensorType target_type(int64_t batch, const SampleType& sample) {
  if (sample.targets == 0) return {DType::i32, {batch}};
  return {DType::f32, {batch, sample.targets}};
}
const char* values_slot(const SampleType& sample) {
  return sample.dtype == DType::u8 ? "pixels" : "features";
}
const char* target_slot(const SampleType& sample) { return sample.targets == 0 ? "labels" : "targets"; }

}  // namespace

Tensor normalize(const Tensor& samples, const Normalization& n) {
  Tensor x = cast(samples, DType::f32);
  auto per_channel = [&](auto value_of) {
    Shape shape = {static_cast<int64_t>(n.mean.size())};
    for (int64_t axis = 2; axis < samples.rank(); ++axis) shape.push_back(1);
    Tensor values = zeros({DType::f32, shape});
    for (size_t c = 0; c < n.mean.size(); ++c) values.data<float>()[c] = value_of(c);
    return values;
  };
  if (samples.dtype() != DType::u8)  // subtracted first: features may lie far from 0
    return (x - per_channel([&](size_t c) { return n.mean[c]; })) *
           per_channel([&](size_t c) { return 1 / n.std[c]; });
  auto scale = [&](size_t c) { return 1 / (255 * n.std[c]); };
  auto shift = [&](size_t c) { return -n.mean[c] / n.std[c]; };
  auto all_equal = [](const std::vector<float>& values) {
    return std::ranges::count(values, values[0]) == std::ssize(values);
  };
  if (all_equal(n.mean) && all_equal(n.std))
    return x * static_cast<double>(scale(0)) + static_cast<double>(shift(0));
  return x * per_channel(scale) + per_channel(shift);
}

Tensor standardize_targets(const Tensor& targets, const Normalization& n) {
  if (n.target_mean.empty()) return targets;
  std::vector<float> scale;
  for (float std : n.target_std) scale.push_back(1 / std);
  return (targets - tensor(n.target_mean, {std::ssize(scale)})) * tensor(scale, {std::ssize(scale)});
}

Tensor in_units_of_data(const Tensor& estimates, const Normalization& n) {
  if (n.target_mean.empty()) return estimates;
  int64_t targets = std::ssize(n.target_mean);
  return estimates * tensor(n.target_std, {targets}) + tensor(n.target_mean, {targets});
}

std::pair<Tensor, Tensor> batch_slots(Graph& graph, const SampleType& sample, int64_t batch) {
  return {graph.add_input(InputKind::kBatch, values_slot(sample), values_type(batch, sample)),
          graph.add_input(InputKind::kBatch, target_slot(sample), target_type(batch, sample))};
}

void write_batch(CompiledStep& step, const SampleType& sample, const Batch& batch, Feed* feed) {
  const char *values = values_slot(sample), *target = target_slot(sample);
  std::span<const std::byte> value_bytes = std::as_bytes(batch.pixels),
                             target_bytes = sample.targets == 0 ? std::as_bytes(batch.labels)
                                                                : std::as_bytes(batch.targets);
  int64_t value_slot = step.input_bytes(values), target_slot_bytes = step.input_bytes(target);
  if (std::ssize(value_bytes) != value_slot || std::ssize(target_bytes) != target_slot_bytes) {
    auto counts = [&](int64_t value, int64_t of_targets) {
      return fmt::format("{} values and {} {}", value / size_bytes(sample.dtype),
                         of_targets / int64_t{sizeof(int32_t)}, target);
    };
    throw Error(ErrorCode::kUsage, {.what = "the samples do not fill the batch",
                                    .got = counts(std::ssize(value_bytes), std::ssize(target_bytes)),
                                    .expected = counts(value_slot, target_slot_bytes)});
  }
  if (feed) return feed->write(std::array{step.piece(values, value_bytes), step.piece(target, target_bytes)});
  step.write(values, value_bytes);
  step.write(target, target_bytes);
}

ResidentData::ResidentData(const Dataset& dataset, const std::string& name)
    : samples_(dataset.resident().value()) {
  const SampleType sample = dataset.sample_type();
  int64_t rows = std::ssize(samples_.pixels) / dataset.sample_bytes();
  values_ = borrow(values_type(rows, sample), std::as_bytes(samples_.pixels));
  targets_ = borrow(target_type(rows, sample),
                    sample.targets == 0 ? std::as_bytes(samples_.labels) : std::as_bytes(samples_.targets));
  order_ = zeros({DType::i32, {dataset.size()}}).set_role(TensorRole::kState, name + ".order");
  position_ = zeros({DType::i64, {}}).set_role(TensorRole::kState, name + ".position");
  for (int64_t i = 0; i < dataset.size(); ++i)
    order_.data<int32_t>()[static_cast<size_t>(i)] = static_cast<int32_t>(samples_.row(i));
}

std::pair<Tensor, Tensor> ResidentData::next(int64_t batch) const {
  Tensor rows = take(order_, position_, batch);
  position_.assign(position_ + static_cast<double>(batch));
  return {gather_rows(values_, rows), gather_rows(targets_, rows)};
}

void ResidentData::set_order(std::span<const int64_t> samples) {
  WHOLESTEP_CHECK(static_cast<int64_t>(samples.size()) == order_.numel());
  std::vector<int32_t> rows;
  for (int64_t sample : samples) rows.push_back(static_cast<int32_t>(samples_.row(sample)));
  order_.write(std::as_bytes(std::span(rows)));
}

}  // namespace wholestep
