// Shape arithmetic. Products are checked: a shape from a file must not wrap around.
#include "wholestep/base/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "wholestep/base/error.h"

namespace wholestep {

Shape::Shape(std::span<const int64_t> extents) {
  for (int64_t extent : extents) push_back(extent);
}

void Shape::push_back(int64_t extent) {
  if (rank_ == kMaxRank)
    throw Error(ErrorCode::kUsage,
                {.what = "too many dimensions", .got = "more than 8", .expected = "at most 8"});
  if (extent < 0)
    throw Error(ErrorCode::kUsage, {.what = "negative extent in a shape",
                                    .where = fmt::format("axis {}", rank_),
                                    .got = std::to_string(extent),
                                    .expected = "0 or more"});
  extents_[static_cast<size_t>(rank_++)] = extent;
}

int64_t Shape::numel() const {
  int64_t product = 1;
  for (int64_t extent : extents())
    if (__builtin_mul_overflow(product, extent, &product))
      throw Error(ErrorCode::kUsage,
                  {.what = "shape has more elements than 64 bits count", .got = to_string(*this)});
  return product;
}

std::array<int64_t, Shape::kMaxRank> Shape::strides() const {
  std::array<int64_t, kMaxRank> strides{};
  int64_t step = 1;
  for (int axis = rank_ - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = step;
    step *= (*this)[axis];
  }
  return strides;
}

bool operator==(const Shape& a, const Shape& b) { return std::ranges::equal(a.extents(), b.extents()); }

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape.extents(), ", ")); }
std::string to_string(const TensorType& type) {
  return fmt::format("{}{}", name(type.dtype), to_string(type.shape));
}

int64_t TensorType::bytes() const {
  int64_t bytes = 0;
  if (__builtin_mul_overflow(shape.numel(), size_bytes(dtype), &bytes))
    throw Error(ErrorCode::kUsage,
                {.what = "a tensor has more bytes than 64 bits count", .got = to_string(*this)});
  return bytes;
}

int normalize_axis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank)
    throw Error(ErrorCode::kUsage, {.what = "axis out of range",
                                    .got = std::to_string(axis),
                                    .expected = fmt::format("{} to {}", -rank, rank - 1)});
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

Shape broadcast_shapes(const Shape& a, const Shape& b) {
  int rank = std::max(a.rank(), b.rank());
  std::array<int64_t, Shape::kMaxRank> out{};
  for (int i = 0; i < rank; ++i) {
    int64_t x = i < a.rank() ? a[a.rank() - 1 - i] : 1, y = i < b.rank() ? b[b.rank() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1)
      throw Error(ErrorCode::kUsage, {.what = "shapes do not broadcast",
                                      .got = to_string(a) + " and " + to_string(b),
                                      .expected = "equal extents, or 1, counted from the last axis"});
    out[static_cast<size_t>(rank - 1 - i)] = x == 1 ? y : x;
  }
  return Shape(std::span(out.data(), static_cast<size_t>(rank)));
}

}  // namespace wholestep
