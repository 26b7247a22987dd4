// In units of 1 / (new size) of a source pixel everything is an integer: source pixel s covers
// [s * new, (s + 1) * new), result pixel r covers [r * old, (r + 1) * old).
#include "wholestep/io/resize.h"

#include <fmt/format.h>

#include <algorithm>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

// Weights of source pixels first, first + 1, ...; they add up to the old size.
struct Cover {
  int64_t first = 0;
  std::vector<int64_t> weights = {};
};

std::vector<Cover> covers(int64_t from, int64_t to) {
  std::vector<Cover> all;
  for (int64_t r = 0; r < to; ++r) {
    int64_t begin = r * from, end = begin + from;
    Cover cover{.first = begin / to};
    for (int64_t s = cover.first; s * to < end; ++s)
      cover.weights.push_back(std::min(end, (s + 1) * to) - std::max(begin, s * to));
    all.push_back(std::move(cover));
  }
  return all;
}

}  // namespace

Image resize_box(const Image& image, int64_t height, int64_t width) {
  constexpr int64_t kMaxSide = 16384;
  if (height < 1 || width < 1 || height > kMaxSide || width > kMaxSide || image.height < 1 || image.width < 1)
    throw Error(ErrorCode::kUsage,
                {.what = "cannot resize the picture",
                 .got = fmt::format("{} x {} to {} x {}", image.height, image.width, height, width),
                 .expected = fmt::format("sides of 1 to {}", kMaxSide)});
  std::vector<Cover> rows = covers(image.height, height), columns = covers(image.width, width);
  Image result{.height = height, .width = width, .channels = image.channels};
  result.pixels.reserve(static_cast<size_t>(height * width * image.channels));
  int64_t area = image.height * image.width;  // of one result pixel, in the units of the weights
  for (const Cover& row : rows)
    for (const Cover& column : columns)
      for (int64_t c = 0; c < image.channels; ++c) {
        int64_t sum = 0;
        for (size_t i = 0; i < row.weights.size(); ++i)
          for (size_t j = 0; j < column.weights.size(); ++j) {
            int64_t y = row.first + static_cast<int64_t>(i), x = column.first + static_cast<int64_t>(j);
            sum += row.weights[i] * column.weights[j] *
                   image.pixels[static_cast<size_t>((y * image.width + x) * image.channels + c)];
          }
        result.pixels.push_back(static_cast<uint8_t>((2 * sum + area) / (2 * area)));
      }
  return result;
}

}  // namespace wholestep
