// Which samples, in which order: pure functions of a seed, so that a position in an epoch is all there is to
// resume.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "wholestep/data/dataset.h"

namespace wholestep {

/// Fills `order` with 0 to order.size() - 1, each once: shuffled (Fisher-Yates from Philox) differently for
/// every epoch of a seed, or in rising order. Never allocates.
void epoch_order(uint64_t seed, int64_t epoch, bool shuffle, std::span<int64_t> order);

/// Two disjoint lists that together hold every sample once, each in rising order.
struct IndexSplit {
  std::vector<int64_t> train, validation;
};

/// Draws `validation_count` of `size` samples at random. kUsage where the count is not within 0 to size.
IndexSplit split_indices(int64_t size, int64_t validation_count, uint64_t seed);

/// The same with every class represented in proportion: floor of its share, what is left over going to the
/// classes with the largest remainders (the smaller class number first where equal).
IndexSplit split_stratified(const Dataset& dataset, int64_t validation_count, uint64_t seed);

}  // namespace wholestep
