// Glyphs as five octal digits, one a row, top to bottom: 7 is a full row, 4 its left pixel, 1 its right one.
#include "wholestep/data/bitmap_font.h"

#include <array>
#include <cctype>

namespace wholestep {
namespace {

constexpr std::array<uint16_t, 10> kDigits = {075557, 026227, 071747, 071717, 055711,
                                              074717, 074757, 071244, 075757, 075717};
constexpr std::array<uint16_t, 26> kLetters = {
    025755, 065656, 034443, 065556, 074647, 074644, 034553, 055755, 072227, 011152, 055655, 044447, 057755,
    065555, 025552, 065644, 025573, 065655, 034216, 072222, 055553, 055552, 055775, 055255, 055222, 071247};

uint16_t glyph(char c) {
  if (c >= '0' && c <= '9') return kDigits[static_cast<size_t>(c - '0')];
  int upper = std::toupper(static_cast<unsigned char>(c));
  if (upper >= 'A' && upper <= 'Z') return kLetters[static_cast<size_t>(upper - 'A')];
  switch (c) {
    case ' ': return 0;
    case '.': return 000002;
    case ',': return 000024;
    case ':': return 002020;
    case '-': return 000700;
    case '_': return 000007;
    case '+': return 002720;
    case '/': return 011244;
    case '%': return 051245;
    case '>': return 042124;
    default: return 071202;  // '?'
  }
}

}  // namespace

void draw_text(Image& image, int64_t x, int64_t y, int64_t scale, uint8_t value, std::string_view text) {
  auto fill_square = [&](int64_t left, int64_t top) {
    for (int64_t py = std::max<int64_t>(top, 0); py < std::min(top + scale, image.height); ++py)
      for (int64_t px = std::max<int64_t>(left, 0); px < std::min(left + scale, image.width); ++px)
        for (int64_t c = 0; c < image.channels; ++c)
          image.pixels[static_cast<size_t>((py * image.width + px) * image.channels + c)] = value;
  };
  for (char c : text) {
    const uint16_t bits = glyph(c);
    for (int64_t row = 0; row < kGlyphHeight; ++row)
      for (int64_t column = 0; column < 3; ++column)
        if (bits >> (3 * (kGlyphHeight - 1 - row) + 2 - column) & 1)
          fill_square(x + column * scale, y + row * scale);
    x += kGlyphWidth * scale;
  }
}

}  // namespace wholestep
