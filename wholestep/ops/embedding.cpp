// gather_rows() over an index of any shape.
#include "wholestep/ops/embedding.h"

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/gather.h"
#include "wholestep/ops/shape.h"

namespace wholestep {

Tensor embedding(const Tensor& index, const Tensor& weight, std::optional<int64_t> padding_idx) {
  if (weight.rank() != 2)
    throw Error(ErrorCode::kUsage, {.what = "an embedding's weight is a matrix of one row an index",
                                    .got = to_string(weight.type()),
                                    .expected = "[V, D]"});
  Tensor flat = reshape(index, Shape{index.numel()}), rows = gather_rows(weight, flat);
  if (padding_idx) {
    Tensor padding = reshape(equal(flat, static_cast<double>(*padding_idx)), Shape{index.numel(), 1});
    rows = where(padding, stop_gradient(rows), rows);
  }
  Shape shape = index.shape();
  shape.push_back(weight.dim(1));
  return reshape(rows, shape);
}

}  // namespace wholestep
