// Slots, gathers and normalisation of a batch.
#include "wholestep/train/batch_input.h"

#include <fmt/format.h>

#include <array>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/gather.h"

namespace wholestep {
namespace {

TensorType batch_type(int64_t batch, const Shape& sample) {
  Shape shape = {batch};
  for (int64_t extent : sample) shape.push_back(extent);
  return {DType::u8, shape};
}

}  // namespace

Tensor normalize(const Tensor& pixels, const Normalization& n) {
  auto scale = [&](size_t c) { return 1 / (255 * n.std[c]); };
  auto shift = [&](size_t c) { return -n.mean[c] / n.std[c]; };
  Tensor x = cast(pixels, DType::f32);
  if (n.mean.size() == 1) return x * static_cast<double>(scale(0)) + static_cast<double>(shift(0));
  Shape per_channel = {static_cast<int64_t>(n.mean.size())};
  for (int64_t axis = 2; axis < pixels.rank(); ++axis) per_channel.push_back(1);
  Tensor scales = zeros({DType::f32, per_channel}), shifts = zeros({DType::f32, per_channel});
  for (size_t c = 0; c < n.mean.size(); ++c)
    scales.data<float>()[c] = scale(c), shifts.data<float>()[c] = shift(c);
  return x * scales + shifts;
}

std::pair<Tensor, Tensor> batch_slots(Graph& graph, const Shape& sample_shape, int64_t batch) {
  return {graph.add_input(InputKind::kBatch, "pixels", batch_type(batch, sample_shape)),
          graph.add_input(InputKind::kBatch, "labels", {DType::i32, {batch}})};
}

void write_batch(CompiledStep& step, std::span<const uint8_t> pixels, std::span<const int32_t> labels,
                 Feed* feed) {
  std::span<const std::byte> pixel_bytes = std::as_bytes(pixels), label_bytes = std::as_bytes(labels);
  size_t pixel_slot = static_cast<size_t>(step.input_bytes("pixels")),
         label_slot = static_cast<size_t>(step.input_bytes("labels"));
  if (pixel_bytes.size() != pixel_slot || label_bytes.size() != label_slot)
    throw Error(ErrorCode::kUsage,
                {.what = "the samples do not fill the batch",
                 .got = fmt::format("{} values and {} labels", pixels.size(), labels.size()),
                 .expected = fmt::format("{} and {}", pixel_slot, label_slot / sizeof(int32_t))});
  if (feed)
    return feed->write(std::array{step.piece("pixels", pixel_bytes), step.piece("labels", label_bytes)});
  step.write("pixels", pixel_bytes);
  step.write("labels", label_bytes);
}

ResidentData::ResidentData(const Dataset& dataset, const std::string& name)
    : samples_(dataset.resident().value()) {
  int64_t rows = static_cast<int64_t>(samples_.labels.size());
  pixels_ = borrow(batch_type(rows, dataset.sample_shape()), std::as_bytes(samples_.pixels));
  labels_ = borrow({DType::i32, {rows}}, std::as_bytes(samples_.labels));
  order_ = zeros({DType::i32, {dataset.size()}}).set_role(TensorRole::kState, name + ".order");
  position_ = zeros({DType::i64, {}}).set_role(TensorRole::kState, name + ".position");
  for (int64_t i = 0; i < dataset.size(); ++i)
    order_.data<int32_t>()[static_cast<size_t>(i)] = static_cast<int32_t>(samples_.row(i));
}

std::pair<Tensor, Tensor> ResidentData::next(int64_t batch) const {
  Tensor rows = take(order_, position_, batch);
  position_.assign(position_ + static_cast<double>(batch));
  return {gather_rows(pixels_, rows), gather_rows(labels_, rows)};
}

void ResidentData::set_order(std::span<const int64_t> samples) {
  WHOLESTEP_CHECK(static_cast<int64_t>(samples.size()) == order_.numel());
  std::vector<int32_t> rows;
  for (int64_t sample : samples) rows.push_back(static_cast<int32_t>(samples_.row(sample)));
  order_.write(std::as_bytes(std::span(rows)));
}

}  // namespace wholestep
