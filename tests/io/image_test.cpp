// Pictures: JPEG against djpeg, PNG against libpng and back, base64, and damaged files.
#include "wholestep/io/image.h"

#include <gtest/gtest.h>

#include "support/command.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::TempDir;

Image gradient(int64_t height, int64_t width, int64_t channels) {
  Image image{height, width, channels, {}};
  for (int64_t i = 0; i < height * width * channels; ++i)
    image.pixels.push_back(static_cast<uint8_t>(i * 7 + i / 11 * 3));
  return image;
}

std::string netpbm(const Image& image) {
  return (image.channels == 3 ? "P6\n" : "P5\n") + std::to_string(image.width) + " " +
         std::to_string(image.height) + "\n255\n" + std::string(image.pixels.begin(), image.pixels.end());
}

// A JPEG made by cjpeg with these options, or "" where the program is absent.
std::string jpeg_of(const TempDir& folder, const Image& image, const std::string& options) {
  test::write_file(folder / "in.pnm", netpbm(image));
  auto result = test::run_command("cjpeg " + options + " -outfile '" + (folder / "a.jpg").string() + "' '" +
                                  (folder / "in.pnm").string() + "'");
  return result.status == 0 ? test::read_file(folder / "a.jpg") : "";
}

TEST(Jpeg, DecodesToTheSameBitsAsDjpeg) {
  TempDir folder;
  for (const char* options :
       {"-quality 90", "-quality 30 -sample 2x2", "-progressive", "-grayscale", "-arithmetic"}) {
    std::string jpeg = jpeg_of(folder, gradient(37, 53, 3), options);
    if (jpeg.empty()) GTEST_SKIP() << "cjpeg and djpeg are not installed";
    Image image = decode_image(bytes_of(jpeg), "a.jpg");
    auto result = test::run_command("djpeg -pnm -outfile '" + (folder / "out.pnm").string() + "' '" +
                                    (folder / "a.jpg").string() + "'");
    ASSERT_EQ(result.status, 0) << result.output;
    EXPECT_EQ(netpbm(image), test::read_file(folder / "out.pnm")) << options;
  }
}

TEST(Jpeg, EveryTruncationIsAnErrorAndFlipsNeverCrash) {
  TempDir folder;
  std::string jpeg = jpeg_of(folder, gradient(16, 16, 1), "-quality 50");
  if (jpeg.empty()) GTEST_SKIP() << "cjpeg is not installed";
  for (size_t length = 0; length + 2 < jpeg.size(); ++length)
    expect_error(ErrorCode::kBadData, {"a.jpg"},
                 [&] { decode_image(bytes_of(std::string_view(jpeg).substr(0, length)), "a.jpg"); });
  for (size_t bit = 0; bit < jpeg.size() * 8; ++bit) {
    std::string damaged = jpeg;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    try {
      decode_image(bytes_of(damaged), "a.jpg", {.max_pixels = 1 << 16});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadData);
    }
  }
}

TEST(Jpeg, AHeaderThatAsksForTooMuchIsRefused) {
  TempDir folder;
  std::string jpeg = jpeg_of(folder, gradient(16, 16, 1), "");
  if (jpeg.empty()) GTEST_SKIP() << "cjpeg is not installed";
  size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xf0\xff\xf0\xff");
  expect_error(ErrorCode::kBadData, {"out of range", "a.jpg"},
               [&] { decode_image(bytes_of(jpeg), "a.jpg"); });
}

TEST(Png, RoundTripsGreyAndRgb) {
  for (int64_t channels : {1, 3}) {
    Image image = gradient(19, 23, channels);
    Image back = decode_image(encode_png(image), "mem");
    EXPECT_EQ(back.height, 19);
    EXPECT_EQ(back.width, 23);
    EXPECT_EQ(back.channels, channels);
    EXPECT_EQ(back.pixels, image.pixels);
  }
  Image wrong = gradient(2, 2, 1);
  wrong.height = 3;
  EXPECT_THROW(encode_png(wrong), Error);
}

TEST(Png, EveryTruncationAndBitFlipIsAnError) {
  Bytes png = encode_png(gradient(9, 7, 3));
  for (size_t length = 0; length < png.size(); ++length)
    expect_error(ErrorCode::kBadData, {"a.png"}, [&] { decode_image(ByteSpan(png).first(length), "a.png"); });
  for (size_t bit = 0; bit < png.size() * 8; ++bit) {
    Bytes damaged = png;
    damaged[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_THROW(decode_image(damaged, "a.png"), Error) << bit;
  }
}

// 2x1 pixels, 8-bit RGBA (255,0,0,128) (0,255,0,0).
TEST(Png, AnAlphaChannelIsDroppedAndSizesAreLimited) {
  std::string png(
      "\211PNG\015\012\032\012\000\000\000\015IHDR\000\000\000\002\000\000\000\001\010\006\000\000\000\364"
      "\042\177\212\000\000\000\017IDATx\234c\370\317\300\320\300\000$\000\015~\002\177/"
      "LK\313\000\000\000\000IEND\256B`\202",
      72);
  Image image = decode_image(bytes_of(png), "mem");
  EXPECT_EQ(image.channels, 3);
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{255, 0, 0, 0, 255, 0}));
  expect_error(ErrorCode::kBadData, {"2x1", "sides up to 1"},
               [&] { decode_image(bytes_of(png), "mem", {.max_side = 1}); });
}

TEST(Image, OtherFormatsAreRefusedByTheirFirstBytes) {
  expect_error(ErrorCode::kBadData, {"47 49 46 38", "JPEG or PNG"},
               [] { decode_image(bytes_of("GIF89a"), "a.gif"); });
  expect_error(ErrorCode::kBadData, {"an empty file"}, [] { decode_image({}, "a"); });
  expect_error(ErrorCode::kNoInput, {"none.png"}, [] { read_image("none.png"); });
}

TEST(Image, GreyIsLumaAndRgbRepeatsIt) {
  Image image{1, 3, 3, {255, 0, 0, 10, 20, 30, 255, 255, 255}};
  EXPECT_EQ(to_grey(image).pixels, (std::vector<uint8_t>{76, 18, 255}));
  EXPECT_EQ(to_rgb(to_grey(image)).pixels, (std::vector<uint8_t>{76, 76, 76, 18, 18, 18, 255, 255, 255}));
}

TEST(Base64, GivesTheKnownAnswersOfRfc4648) {
  EXPECT_EQ(base64({}), "");
  EXPECT_EQ(base64(bytes_of("f")), "Zg==");
  EXPECT_EQ(base64(bytes_of("fo")), "Zm8=");
  EXPECT_EQ(base64(bytes_of("foobar")), "Zm9vYmFy");
  EXPECT_EQ(base64(bytes_of("\xff\xff\xff")), "////");
}

}  // namespace
}  // namespace wholestep
