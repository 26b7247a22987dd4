// A pair of extents along height and width, written as one number where both are equal.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace wholestep {

struct Size2d {
  int64_t height = 0, width = 0;
  constexpr Size2d() = default;
  constexpr Size2d(int64_t both)
      : height(both), width(both) {}  // NOLINT: implicit, so .kernel_size = 5 reads
  constexpr Size2d(int64_t h, int64_t w) : height(h), width(w) {}
  operator std::array<int64_t, 2>() const { return {height, width}; }  // NOLINT: what ops take
  friend constexpr bool operator==(const Size2d&, const Size2d&) = default;
};

/// Padding on each side, or as much as keeps an extent the same.
struct Padding : Size2d {
  using Size2d::Size2d;
  constexpr Padding(const Size2d& size) : Size2d(size) {}  // NOLINT: as Size2d
  template <size_t N>
  constexpr Padding(const char (&word)[N])  // NOLINT: so .padding = "same" reads, or "valid"
      : same(std::string_view(word) == "same") {
    if (!same && std::string_view(word) != "valid") height = width = -1;  // which is out of range
  }
  bool same = false;
  friend constexpr bool operator==(const Padding&, const Padding&) = default;
};

inline std::string to_string(const Size2d& size) {
  return size.height == size.width
             ? std::to_string(size.height)
             : "(" + std::to_string(size.height) + ", " + std::to_string(size.width) + ")";
}

}  // namespace wholestep
