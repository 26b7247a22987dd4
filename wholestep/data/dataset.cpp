// Samples in memory, and views of some of the samples of another dataset.
#include "wholestep/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

class Subset final : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> dataset, std::vector<int64_t> indices)
      : dataset_(std::move(dataset)), indices_(std::move(indices)) {
    for (int64_t index : indices_) check_sample_index(index, dataset_->size());
    if (std::optional<ResidentSamples> all = dataset_->resident())
      for (int64_t index : indices_) rows_.push_back(all->row(index));
  }
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  const Shape& sample_shape() const override { return dataset_->sample_shape(); }
  const std::vector<std::string>& class_names() const override { return dataset_->class_names(); }
  int32_t label(int64_t index) const override { return dataset_->label(original(index)); }
  DType dtype() const override { return dataset_->dtype(); }
  std::span<const float> targets(int64_t index) const override { return dataset_->targets(original(index)); }
  const std::vector<std::string>& feature_names() const override { return dataset_->feature_names(); }
  const std::vector<std::string>& target_names() const override { return dataset_->target_names(); }
  void read(int64_t index, std::span<uint8_t> out) const override { dataset_->read(original(index), out); }
  std::optional<ResidentSamples> resident() const override {
    std::optional<ResidentSamples> all = dataset_->resident();
    if (all) all->row_of = rows_;
    // An empty view must not read as "sample i is row i".
    return indices_.empty() ? std::nullopt : all;
  }

 private:
  int64_t original(int64_t index) const {
    check_sample_index(index, size());
    return indices_[static_cast<size_t>(index)];
  }
  std::shared_ptr<const Dataset> dataset_;
  std::vector<int64_t> indices_, rows_;
};

}  // namespace

void check_sample_index(int64_t index, int64_t size) {
  if (index < 0 || index >= size)
    throw Error(ErrorCode::kUsage, {.what = "sample index out of range",
                                    .got = std::to_string(index),
                                    .expected = fmt::format("0 to {}", size - 1)});
}

void check_sample_bytes(const Dataset& dataset, size_t bytes) {
  if (bytes != static_cast<size_t>(dataset.sample_bytes()))
    throw Error(
        ErrorCode::kUsage,
        {.what = "a sample does not fit where it should go",
         .got = fmt::format("room for {} values", bytes / static_cast<size_t>(size_bytes(dataset.dtype()))),
         .expected =
             fmt::format("{} for {}", dataset.sample_shape().numel(), to_string(dataset.sample_shape()))});
}

const std::vector<std::string>& Dataset::no_names() {
  static const std::vector<std::string> none;
  return none;
}

InMemoryDataset::InMemoryDataset(Shape sample_shape, std::vector<uint8_t> pixels, std::vector<int32_t> labels,
                                 std::vector<std::string> class_names, const std::string& source)
    : sample_shape_(sample_shape),
      pixels_(std::move(pixels)),
      labels_(std::move(labels)),
      class_names_(std::move(class_names)) {
  Shape whole{size()};
  for (int64_t extent : sample_shape_) whole.push_back(extent);
  if (static_cast<uint64_t>(whole.numel()) != pixels_.size())
    throw Error(ErrorCode::kBadData, {.what = "the number of values does not fit the shape",
                                      .where = source,
                                      .got = fmt::format("{} values", pixels_.size()),
                                      .expected = fmt::format("{} for {} samples {}", whole.numel(), size(),
                                                              to_string(sample_shape_))});
  auto bad =
      std::ranges::find_if(labels_, [&](int32_t label) { return label < 0 || label >= num_classes(); });
  if (bad != labels_.end())
    throw Error(ErrorCode::kBadData, {.what = "label out of range",
                                      .where = fmt::format("{}: sample {}", source, bad - labels_.begin()),
                                      .got = std::to_string(*bad),
                                      .expected = fmt::format("0 to {}", num_classes() - 1)});
}

int32_t InMemoryDataset::label(int64_t index) const {
  check_sample_index(index, size());
  return labels_[static_cast<size_t>(index)];
}

void InMemoryDataset::read(int64_t index, std::span<uint8_t> out) const {
  check_sample_index(index, size());
  check_sample_bytes(*this, out.size());
  if (!out.empty())
    std::memcpy(out.data(), pixels_.data() + static_cast<size_t>(index) * out.size(), out.size());
}

std::optional<ResidentSamples> InMemoryDataset::resident() const {
  return ResidentSamples{.pixels = pixels_, .labels = labels_, .targets = {}, .row_of = {}};
}

std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> dataset, std::vector<int64_t> indices) {
  return std::make_shared<Subset>(std::move(dataset), std::move(indices));
}

}  // namespace wholestep
