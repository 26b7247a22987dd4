// Compositions of the ops of shape.h; what goes against the order of memory is rows by index.
#include "wholestep/ops/arrange.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "wholestep/base/integers.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/indexing.h"

namespace wholestep {
namespace {

std::vector<int64_t> all_axes(const Tensor& x) {
  std::vector<int64_t> axes(static_cast<size_t>(x.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

/// 1 where column - row >= diagonal.
Tensor on_or_above(const Tensor& x, int64_t diagonal) {
  if (x.rank() < 2)
    throw Error(ErrorCode::kUsage, {.what = "a triangle is taken of matrices",
                                    .got = to_string(x.type()),
                                    .expected = "at least two axes"});
  Tensor rows = reshape(arange(x.dim(-2)), {x.dim(-2), 1}), columns = arange(x.dim(-1));
  return columns - rows >= static_cast<double>(diagonal);
}

}  // namespace

Tensor squeeze(const Tensor& x) {
  Shape shape;
  for (int64_t extent : x.shape())
    if (extent != 1) shape.push_back(extent);
  return reshape(x, shape);
}

Tensor squeeze(const Tensor& x, int64_t axis) {
  int at = normalize_axis(axis, x.rank());
  if (x.shape()[at] != 1) return x;
  std::vector<int64_t> extents(x.shape().begin(), x.shape().end());
  extents.erase(extents.begin() + at);
  return reshape(x, extents);
}

Tensor unsqueeze(const Tensor& x, int64_t axis) {
  int at = normalize_axis(axis, x.rank() + 1);
  std::vector<int64_t> extents(x.shape().begin(), x.shape().end());
  extents.insert(extents.begin() + at, 1);
  return reshape(x, Shape(extents));
}

Tensor transpose(const Tensor& x, int64_t a, int64_t b) {
  std::vector<int64_t> axes = all_axes(x);
  std::swap(axes[static_cast<size_t>(normalize_axis(a, x.rank()))],
            axes[static_cast<size_t>(normalize_axis(b, x.rank()))]);
  return permute(x, axes);
}

Tensor stack(const std::vector<Tensor>& parts, int64_t axis) {
  std::vector<Tensor> rows;
  for (const Tensor& part : parts) rows.push_back(unsqueeze(part, axis));
  return concat(rows, axis);
}

std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t axis) {
  if (size < 1)
    throw Error(ErrorCode::kUsage,
                {.what = "pieces have at least one element", .got = fmt::format("split size {}", size)});
  const int64_t extent = x.dim(axis);
  std::vector<int64_t> sizes;
  for (int64_t at = 0; at < extent || at == 0; at += size) sizes.push_back(std::min(size, extent - at));
  return split(x, sizes, axis);
}

std::vector<Tensor> chunk(const Tensor& x, int64_t chunks, int64_t axis) {
  if (chunks < 1)
    throw Error(ErrorCode::kUsage,
                {.what = "a tensor is cut into at least one piece", .got = fmt::format("{} chunks", chunks)});
  return split(x, std::max<int64_t>(1, ceil_div(x.dim(axis), chunks)), axis);
}

Tensor select(const Tensor& x, int64_t axis, int64_t index) {
  const int64_t extent = x.dim(axis), at = index < 0 ? index + extent : index;
  if (at < 0 || at >= extent)
    throw Error(ErrorCode::kUsage, {.what = "select index out of range",
                                    .where = fmt::format("axis {} of {}", axis, to_string(x.type())),
                                    .got = std::to_string(index),
                                    .expected = fmt::format("{} to {}", -extent, extent - 1)});
  return squeeze(slice(x, axis, at, at + 1), axis);
}

Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step) {
  if (step <= 0)
    throw Error(ErrorCode::kUsage, {.what = "a slice goes forward by at least one element",
                                    .got = fmt::format("step {}", step),
                                    .hint = step < 0 ? "flip() turns an axis around" : ""});
  axis = normalize_axis(axis, x.rank());
  Tensor part = slice(x, axis, start, stop);
  if (step == 1 || part.dim(axis) == 0) return part;
  // Rows of `step` elements, of which the first stays.
  int64_t count = ceil_div(part.dim(axis), step);
  part = pad(part, axis, 0, count * step - part.dim(axis));
  int64_t before = 1, after = 1;
  for (int64_t i = 0; i < x.rank(); ++i) (i < axis ? before : after) *= i == axis ? 1 : part.dim(i);
  Shape shape = part.shape();
  shape.set(static_cast<int>(axis), count);
  return reshape(slice(reshape(part, {before * count, step, after}), 1, 0, 1), shape);
}

Tensor flip(const Tensor& x, const std::vector<int64_t>& axes) {
  Tensor result = x;
  for (int64_t axis : axes)
    result = index_select(result, axis, static_cast<double>(x.dim(axis) - 1) - arange(x.dim(axis)));
  return result;
}

Tensor roll(const Tensor& x, int64_t shift, int64_t axis) {
  const int64_t extent = x.dim(axis);
  if (extent == 0) return x;
  const int64_t at = ((-shift % extent) + extent) % extent;
  if (at == 0) return x;
  return concat({slice(x, axis, at, extent), slice(x, axis, 0, at)}, axis);
}
Tensor roll(const Tensor& x, int64_t shift) {
  return reshape(roll(reshape(x, {x.numel()}), shift, 0), x.shape());
}

Tensor repeat(const Tensor& x, const std::vector<int64_t>& counts) {
  const int more = static_cast<int>(counts.size()) - x.rank();
  if (more < 0)
    throw Error(ErrorCode::kUsage, {.what = "repeat needs a count for every axis",
                                    .got = to_string(Attrs{{"counts", counts}}),
                                    .expected = fmt::format("at least {} counts", x.rank())});
  Tensor result = x;
  for (int axis = 0; axis < more; ++axis) result = unsqueeze(result, 0);
  for (int axis = 0; axis < result.rank(); ++axis) {
    const int64_t count = counts[static_cast<size_t>(axis)];
    if (count < 0)
      throw Error(ErrorCode::kUsage,
                  {.what = "a negative count to repeat", .got = to_string(Attrs{{"counts", counts}})});
    if (count == 1) continue;
    // [..., E, ...] -> [..., count, E, ...] -> [..., count * E, ...]
    Shape shape = result.shape();
    shape.set(axis, count * shape[axis]);
    Tensor apart = unsqueeze(result, axis);
    Shape wide = apart.shape();
    wide.set(axis, count);
    result = reshape(expand(apart, wide), shape);
  }
  return result;
}

Tensor pad(const Tensor& x, const std::vector<int64_t>& counts, double value) {
  if (counts.size() % 2 != 0 || counts.size() > 2 * static_cast<size_t>(x.rank()) ||
      std::ranges::any_of(counts, [](int64_t count) { return count < 0; }))
    throw Error(ErrorCode::kUsage,
                {.what = "padding is a count before and one after an axis",
                 .got = to_string(Attrs{{"counts", counts}}),
                 .expected = fmt::format("up to {} pairs of counts of 0 or more", x.rank())});
  Tensor result = x;
  for (size_t i = 0; i < counts.size(); i += 2) {
    const int64_t axis = x.rank() - 1 - static_cast<int64_t>(i / 2);
    auto border = [&](int64_t count) {
      Shape shape = result.shape();
      shape.set(static_cast<int>(axis), count);
      return full(shape, value, x.dtype());
    };
    if (counts[i] + counts[i + 1] == 0) continue;
    if (value == 0) result = pad(result, axis, counts[i], counts[i + 1]);
    else result = concat({border(counts[i]), result, border(counts[i + 1])}, axis);
  }
  return result;
}

Tensor tril(const Tensor& x, int64_t diagonal) { return where(on_or_above(x, diagonal + 1), 0.0, x); }
Tensor triu(const Tensor& x, int64_t diagonal) { return where(on_or_above(x, diagonal), x, 0.0); }

Tensor diagonal(const Tensor& x, int64_t axis_a, int64_t axis_b) {
  const int a = normalize_axis(axis_a, x.rank()), b = normalize_axis(axis_b, x.rank());
  if (a == b || x.dim(a) != x.dim(b))
    throw Error(ErrorCode::kUsage, {.what = "a diagonal lies between two axes of one extent",
                                    .got = fmt::format("axes {} and {} of {}", a, b, to_string(x.type()))});
  std::vector<int64_t> order;
  Shape shape;
  for (int axis = 0; axis < x.rank(); ++axis)
    if (axis != a && axis != b) order.push_back(axis), shape.push_back(x.dim(axis));
  order.insert(order.end(), {a, b});
  const int64_t n = x.dim(a);
  shape.push_back(n * n);
  return index_select(reshape(permute(x, order), shape), -1, arange(n) * static_cast<double>(n + 1));
}

}  // namespace wholestep
