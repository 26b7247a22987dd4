// How a block of the tensor cores' convolutions by whole samples is cut, see conv2d_samples.cuh.
#pragma once
#include <optional>

#include "wholestep/backend/cpu/conv.h"

namespace wholestep {

struct SampleTile {
  int64_t run;                    ///< neighbouring pixels of a thread
  int64_t row, plane;             ///< words of the sample in shared memory
  int64_t channel_groups, split;  ///< groups of 8 of a warp, and parts of the sum
  int64_t kernel_rows;            ///< groups of 8 of a warp, in the gradient of the weight
  int64_t shared_bytes;
};

// For y, dx and dw of a convolution, and the gradient of its bias with the last; none where nothing fits.
std::optional<SampleTile> forward_sample_tile(const Conv2d& c);
std::optional<SampleTile> gradient_sample_tile(const Conv2d& c);
std::optional<SampleTile> weight_sample_tile(const Conv2d& c, bool bias);

}  // namespace wholestep
