// The decoders behind decode_image, one file each.
#pragma once
#include "wholestep/io/image.h"

namespace wholestep {

bool is_jpeg(ByteSpan bytes);
bool is_png(ByteSpan bytes);
Image decode_jpeg(ByteSpan bytes, const std::string& name, const ImageLimits& limits);
Image decode_png(ByteSpan bytes, const std::string& name, const ImageLimits& limits);

/// kBadData where a size is not positive or over the limits.
void check_image_size(int64_t height, int64_t width, const std::string& name, const ImageLimits& limits);

}  // namespace wholestep
