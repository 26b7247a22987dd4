// Fisher-Yates shuffles and the splits made from them.
#include "wholestep/data/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "wholestep/base/error.h"
#include "wholestep/base/philox.h"

namespace wholestep {
namespace {

// Keeps the streams of epochs and of splits apart under one seed.
constexpr uint64_t kOrderKey = 0x6f72646572;  // "order"
constexpr uint64_t kSplitKey = 0x73706c6974;  // "split"

void shuffle_indices(std::span<int64_t> values, PhiloxStream random) {
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
}

void check_count(int64_t count, int64_t size) {
  if (count < 0 || count > size)
    throw Error(ErrorCode::kUsage, {.what = "validation samples out of range",
                                    .got = std::to_string(count),
                                    .expected = fmt::format("0 to {}", size)});
}

// Moves `count` random ones of `members` to the validation list, the others to the training list.
void deal(std::vector<int64_t>& members, int64_t count, PhiloxStream random, IndexSplit& split) {
  shuffle_indices(members, random);
  auto middle = members.begin() + count;
  split.validation.insert(split.validation.end(), members.begin(), middle);
  split.train.insert(split.train.end(), middle, members.end());
}

IndexSplit sorted(IndexSplit split) {
  std::ranges::sort(split.train);
  std::ranges::sort(split.validation);
  return split;
}

}  // namespace

void epoch_order(uint64_t seed, int64_t epoch, bool shuffle, std::span<int64_t> order) {
  std::iota(order.begin(), order.end(), int64_t{0});
  if (shuffle) shuffle_indices(order, PhiloxStream(mix(seed, kOrderKey), static_cast<uint64_t>(epoch)));
}

IndexSplit split_indices(int64_t size, int64_t validation_count, uint64_t seed) {
  check_count(validation_count, size);
  std::vector<int64_t> all(static_cast<size_t>(size));
  std::iota(all.begin(), all.end(), int64_t{0});
  IndexSplit split;
  deal(all, validation_count, PhiloxStream(mix(seed, kSplitKey), 0), split);
  return sorted(std::move(split));
}

IndexSplit split_stratified(const Dataset& dataset, int64_t validation_count, uint64_t seed) {
  const int64_t size = dataset.size();
  check_count(validation_count, size);
  std::vector<std::vector<int64_t>> members(dataset.class_names().size());
  for (int64_t i = 0; i < size; ++i) members[static_cast<size_t>(dataset.label(i))].push_back(i);

  // Shares in units of 1 / size, so that no rounding enters.
  std::vector<int64_t> count(members.size()), by_remainder(members.size());
  std::vector<uint64_t> remainder(members.size());
  int64_t left = validation_count;
  for (size_t c = 0; c < members.size() && size > 0; ++c) {
    uint64_t share = members[c].size() * static_cast<uint64_t>(validation_count);
    count[c] = static_cast<int64_t>(share / static_cast<uint64_t>(size));
    remainder[c] = share % static_cast<uint64_t>(size);
    left -= count[c];
  }
  std::iota(by_remainder.begin(), by_remainder.end(), int64_t{0});
  std::ranges::stable_sort(by_remainder, std::greater{},
                           [&](int64_t c) { return remainder[static_cast<size_t>(c)]; });
  for (int64_t c : std::span(by_remainder).first(static_cast<size_t>(left))) ++count[static_cast<size_t>(c)];

  IndexSplit split;
  for (size_t c = 0; c < members.size(); ++c)
    deal(members[c], count[c], PhiloxStream(mix(seed, kSplitKey), 1 + c), split);
  return sorted(std::move(split));
}

}  // namespace wholestep
