// Embedding lookup.
#pragma once
#include <optional>

#include "wholestep/graph/op.h"

namespace wholestep {

/// Row weight[index] for every index: index i32 or i64 [...], weight [V, D] -> [..., D]. Rows of
/// `padding_idx` get no gradient. Out-of-range indices as in gather_rows().
Tensor embedding(const Tensor& index, const Tensor& weight, std::optional<int64_t> padding_idx = {});

}  // namespace wholestep
