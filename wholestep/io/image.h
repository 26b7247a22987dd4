// Pictures: JPEG and PNG bytes to 8-bit pixels and pixels to PNG, with limits on what a header may ask for.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "wholestep/io/files.h"

namespace wholestep {

/// Pixels [height, width, channels], u8, channels 1 (grey) or 3 (RGB).
struct Image {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels = {};
};

struct ImageLimits {
  int64_t max_side = 16384;
  int64_t max_pixels = int64_t{1} << 26;
};

/// Decodes by content, grey or RGB as stored (an alpha channel is dropped, 16 bits become 8, palettes become
/// RGB). JPEGs decode to the same bits as libjpeg's djpeg. kBadData, starting with `name`, for other formats,
/// CMYK, sizes over the limits (before allocating), and damaged or cut-off data.
Image decode_image(ByteSpan bytes, const std::string& name, const ImageLimits& limits = {});

/// Reads and decodes a file of at most 256 MiB; also kNoInput, kIo.
Image read_image(const std::filesystem::path& path, const ImageLimits& limits = {});

Image to_grey(const Image& image);  ///< ITU-R BT.601 luma: (299 R + 587 G + 114 B) / 1000, rounded
Image to_rgb(const Image& image);

/// A PNG of a grey or RGB image; equal pixels give equal bytes. kUsage where the pixel count is not the
/// size's.
Bytes encode_png(const Image& image);

/// RFC 4648 base64 with padding, for pictures inside HTML.
std::string base64(ByteSpan bytes);

}  // namespace wholestep
