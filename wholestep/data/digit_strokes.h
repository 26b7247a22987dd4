// How digits are written: for each digit a few styles, each a few pen strokes through control points.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace wholestep {

/// A point of the pen's path in a box of 100 x 100, y down. The path is smooth through it unless it is a
/// corner.
struct StrokePoint {
  int16_t x, y;
  bool corner = false;
};
using Stroke = std::vector<StrokePoint>;
using DigitStyle = std::vector<Stroke>;

std::span<const DigitStyle> digit_styles(int digit);  ///< of 0 to 9

}  // namespace wholestep
