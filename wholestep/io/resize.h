// Changing the size of a picture.
#pragma once
#include "wholestep/io/image.h"

namespace wholestep {

/// Every pixel of the result is the mean of the area it covers in `image`, edge pixels by the part covered,
/// rounded to the nearest integer: the average where it gets smaller, repeated pixels where it gets larger by
/// a whole factor. Exact integer arithmetic. kUsage where a side is not 1 to 16384.
Image resize_box(const Image& image, int64_t height, int64_t width);

}  // namespace wholestep
