// Choice of decoder by content, grey and RGB conversions, base64.
#include "wholestep/io/image.h"

#include <fmt/format.h>

#include "wholestep/base/error.h"
#include "wholestep/io/image_formats.h"

namespace wholestep {

Image decode_image(ByteSpan bytes, const std::string& name, const ImageLimits& limits) {
  if (is_jpeg(bytes)) return decode_jpeg(bytes, name, limits);
  if (is_png(bytes)) return decode_png(bytes, name, limits);
  std::string start;
  for (std::byte byte : bytes.first(std::min<size_t>(bytes.size(), 4)))
    start += fmt::format("{:02x} ", static_cast<unsigned>(byte));
  throw Error(ErrorCode::kBadData, {.what = "not a picture this can read",
                                    .where = name,
                                    .got = bytes.empty() ? "an empty file" : "content that starts " + start,
                                    .expected = "JPEG or PNG"});
}

Image read_image(const std::filesystem::path& path, const ImageLimits& limits) {
  return decode_image(read_file(path, uint64_t{256} << 20), path.string(), limits);
}

void check_image_size(int64_t height, int64_t width, const std::string& name, const ImageLimits& limits) {
  if (height < 1 || width < 1 || height > limits.max_side || width > limits.max_side ||
      height > limits.max_pixels / width)
    throw Error(ErrorCode::kBadData, {.what = "the picture's size is out of range",
                                      .where = name,
                                      .got = fmt::format("{}x{}", width, height),
                                      .expected = fmt::format("sides up to {} and at most {} pixels",
                                                              limits.max_side, limits.max_pixels)});
}

Image to_grey(const Image& image) {
  if (image.channels == 1) return image;
  Image grey{image.height, image.width, 1, {}};
  grey.pixels.reserve(image.pixels.size() / 3);
  for (size_t i = 0; i + 2 < image.pixels.size(); i += 3) {
    unsigned luma = 299u * image.pixels[i] + 587u * image.pixels[i + 1] + 114u * image.pixels[i + 2];
    grey.pixels.push_back(static_cast<uint8_t>((luma + 500) / 1000));
  }
  return grey;
}

Image to_rgb(const Image& image) {
  if (image.channels == 3) return image;
  Image rgb{image.height, image.width, 3, {}};
  rgb.pixels.reserve(image.pixels.size() * 3);
  for (uint8_t value : image.pixels) rgb.pixels.insert(rgb.pixels.end(), 3, value);
  return rgb;
}

std::string base64(ByteSpan bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    size_t count = std::min<size_t>(3, bytes.size() - i);
    unsigned group = 0;
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (j < count ? static_cast<unsigned>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) text += j <= count ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

}  // namespace wholestep
