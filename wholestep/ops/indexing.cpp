// Every form of indexing is gather_rows or its adjoint: of an axis moved to the front, or of the elements of
// a tensor as rows of one.
#include "wholestep/ops/indexing.h"

#include <fmt/format.h>

#include "wholestep/ops/arrange.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reductions.h"

namespace wholestep {
namespace {

void check_index(const Tensor& x, int64_t axis, const Tensor& index, const Shape& longest) {
  bool fits = index.rank() == x.rank();
  for (int a = 0; fits && a < x.rank(); ++a) fits = a == axis || index.shape()[a] <= longest[a];
  if (!fits)
    throw Error(ErrorCode::kUsage,
                {.what = "an index does not fit what it indexes",
                 .where = fmt::format("axis {} of {}", axis, to_string(x.type())),
                 .got = to_string(index.type()),
                 .expected = fmt::format("within {} but for the axis", to_string(longest))});
  if (index.dtype() != DType::i32 && index.dtype() != DType::i64)
    throw Error(
        ErrorCode::kUsage,
        {.what = "an index is made of integers", .got = to_string(index.type()), .expected = "i32 or i64"});
  if (index.symbolic()) return;
  Tensor host = cast(index, DType::i64).to_host();
  for (int64_t i : host.data<int64_t>())
    if (i < 0 || i >= x.dim(axis))
      throw Error(ErrorCode::kUsage, {.what = "index out of range",
                                      .where = fmt::format("axis {} of {}", axis, to_string(x.type())),
                                      .got = std::to_string(i),
                                      .expected = fmt::format("0 to {}", x.dim(axis) - 1)});
}

/// Where the elements that index points at lie in x, flattened; -1 where there is none.
Tensor flat_places(const Tensor& x, int64_t axis, const Tensor& index) {
  Tensor wide = cast(index, DType::i64);
  Tensor found = logical_and(wide >= 0.0, wide < static_cast<double>(x.dim(axis))), place;
  for (int a = 0; a < x.rank(); ++a) {
    Tensor along = wide;
    if (a != axis) {
      Shape shape;
      for (int other = 0; other < x.rank(); ++other) shape.push_back(other == a ? index.shape()[a] : 1);
      along = reshape(arange(index.shape()[a]), shape);
    }
    along = along * static_cast<double>(x.strides()[static_cast<size_t>(a)]);
    place = place.defined() ? place + along : along;
  }
  return reshape(where(found, place, -1.0), {index.numel()});
}

}  // namespace

Tensor index_select(const Tensor& x, int64_t axis, const Tensor& index) {
  if (normalize_axis(axis, x.rank()) == 0) return gather_rows(x, index);
  return transpose(gather_rows(transpose(x, 0, axis), index), 0, axis);
}

Tensor gather(const Tensor& x, int64_t axis, const Tensor& index) {
  axis = normalize_axis(axis, x.rank());
  check_index(x, axis, index, x.shape());
  if (index.numel() == 0) return new_full(x, index.shape(), 0, x.dtype());
  return reshape(gather_rows(reshape(x, {x.numel()}), flat_places(x, axis, index)), index.shape());
}

Tensor scatter_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src) {
  axis = normalize_axis(axis, x.rank());
  check_index(x, axis, index, x.shape());
  bool covered = src.rank() == index.rank() && src.dtype() == x.dtype();
  for (int a = 0; covered && a < index.rank(); ++a) covered = index.shape()[a] <= src.shape()[a];
  if (!covered)
    throw Error(ErrorCode::kUsage,
                {.what = "src of scatter_add has an element for every index and the dtype of x",
                 .got = to_string(src.type()),
                 .expected = fmt::format("{}{} or longer", name(x.dtype()), to_string(index.shape()))});
  if (index.numel() == 0) return x;
  Tensor values = src;
  for (int a = 0; a < index.rank(); ++a)
    if (values.dim(a) != index.dim(a)) values = slice(values, a, 0, index.dim(a));
  Tensor added = scatter_add_rows(reshape(values, {index.numel()}), flat_places(x, axis, index), x.numel());
  return x + reshape(added, x.shape());
}

Tensor one_hot(const Tensor& index, int64_t num_classes) {
  if (num_classes < 0) num_classes = index.numel() > 0 ? max(index).item<int64_t>() + 1 : 0;
  Tensor classes = arange(num_classes), wide = cast(index, DType::i64);
  if (!index.symbolic() && index.numel() > 0 &&
      (min(wide).item<int64_t>() < 0 || max(wide).item<int64_t>() >= num_classes))
    throw Error(ErrorCode::kUsage,
                {.what = "a class is out of range",
                 .got = fmt::format("{} to {}", min(wide).item<int64_t>(), max(wide).item<int64_t>()),
                 .expected = fmt::format("0 to {}", num_classes - 1)});
  return cast(equal(unsqueeze(wide, -1), classes), DType::i64);
}

}  // namespace wholestep
