// A font of 3 x 5 pixels for captions in pictures.
#pragma once
#include <cstdint>
#include <string_view>

#include "wholestep/io/image.h"

namespace wholestep {

constexpr int64_t kGlyphWidth = 4, kGlyphHeight = 5;  ///< in font pixels, the gap to the next glyph included

/// Writes `text` with its upper left corner at (x, y), each font pixel a square of `scale` pixels of `value`
/// in every channel. Letters appear as capitals, characters without a glyph as '?'; what lies outside the
/// picture is cut off.
void draw_text(Image& image, int64_t x, int64_t y, int64_t scale, uint8_t value, std::string_view text);

}  // namespace wholestep
