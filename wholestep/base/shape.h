// Shapes: up to eight non-negative extents held inline, row-major, and the arithmetic on them that every op
// needs.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "wholestep/base/dtype.h"

namespace wholestep {

class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(
      std::span<const int64_t> extents);  ///< kUsage where an extent is negative or the rank is over 8

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return extents_[static_cast<size_t>(axis)]; }
  void set(int axis, int64_t extent) { extents_[static_cast<size_t>(axis)] = extent; }
  void push_back(int64_t extent);
  int64_t back() const { return extents_[static_cast<size_t>(rank_ - 1)]; }
  std::span<const int64_t> extents() const { return {extents_.data(), static_cast<size_t>(rank_)}; }
  const int64_t* begin() const { return extents_.data(); }
  const int64_t* end() const { return extents_.data() + rank_; }

  int64_t numel() const;  ///< product of the extents; 1 for rank 0; kUsage where it would overflow
  std::array<int64_t, kMaxRank> strides() const;  ///< row-major, in elements
  friend bool operator==(const Shape& a, const Shape& b);

 private:
  std::array<int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  ///< "[64, 1, 28, 28]"

/// The axis counted from the front; negative ones count from the end. kUsage where it is out of range.
int normalize_axis(int64_t axis, int rank);

/// NumPy broadcasting of two shapes; kUsage naming both where they do not fit.
Shape broadcast_shapes(const Shape& a, const Shape& b);

/// What a tensor is before it has data.
struct TensorType {
  DType dtype = DType::f32;
  Shape shape;
  int64_t bytes() const;  ///< kUsage where 64 bits do not count them
  friend bool operator==(const TensorType&, const TensorType&) = default;
};
std::string to_string(const TensorType& type);  ///< "f32[64, 10]"

}  // namespace wholestep
