// Box resizing against a reference in floating point, and its exact cases.
#include "wholestep/io/resize.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"

namespace wholestep {
namespace {

Image pattern(int64_t height, int64_t width, int64_t channels) {
  Image image{.height = height, .width = width, .channels = channels};
  for (int64_t i = 0; i < height * width * channels; ++i)
    image.pixels.push_back(static_cast<uint8_t>((i * i * 31 + i * 7) % 256));
  return image;
}

TEST(ResizeBox, TheSameSizeIsTheSamePicture) {
  Image image = pattern(5, 7, 3);
  EXPECT_EQ(resize_box(image, 5, 7).pixels, image.pixels);
}

TEST(ResizeBox, HalvingAveragesFourPixels) {
  Image image{.height = 2, .width = 4, .channels = 1, .pixels = {0, 10, 255, 255, 20, 31, 255, 254}};
  EXPECT_EQ(resize_box(image, 1, 2).pixels, (std::vector<uint8_t>{15, 255}));
}

TEST(ResizeBox, AWholeFactorRepeatsPixels) {
  Image image{.height = 1, .width = 2, .channels = 1, .pixels = {3, 200}};
  EXPECT_EQ(resize_box(image, 2, 4).pixels, (std::vector<uint8_t>{3, 3, 200, 200, 3, 3, 200, 200}));
}

TEST(ResizeBox, AgreesWithTheIntegralOfThePicture) {
  Image image = pattern(37, 23, 3);
  for (auto [height, width] : {std::pair<int64_t, int64_t>{28, 28}, {10, 9}, {50, 11}, {1, 1}}) {
    Image got = resize_box(image, height, width);
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        for (int64_t c = 0; c < 3; ++c) {
          double y0 = y * 37.0 / height, y1 = (y + 1) * 37.0 / height, x0 = x * 23.0 / width,
                 x1 = (x + 1) * 23.0 / width;
          double sum = 0;
          for (int64_t sy = 0; sy < 37; ++sy)
            for (int64_t sx = 0; sx < 23; ++sx) {
              double h = std::min(y1, sy + 1.0) - std::max(y0, double(sy)),
                     w = std::min(x1, sx + 1.0) - std::max(x0, double(sx));
              if (h > 0 && w > 0) sum += h * w * image.pixels[static_cast<size_t>((sy * 23 + sx) * 3 + c)];
            }
          double mean = sum / ((y1 - y0) * (x1 - x0));
          EXPECT_LE(std::abs(got.pixels[static_cast<size_t>((y * width + x) * 3 + c)] - mean), 0.5 + 1e-9);
        }
  }
}

TEST(ResizeBox, RefusesSidesThatAreNone) {
  test::expect_error(ErrorCode::kUsage, {"cannot resize", "5 x 7 to 0 x 3"},
                     [] { resize_box(pattern(5, 7, 1), 0, 3); });
  test::expect_error(ErrorCode::kUsage, {"cannot resize"}, [] { resize_box(Image{}, 4, 4); });
}

}  // namespace
}  // namespace wholestep
