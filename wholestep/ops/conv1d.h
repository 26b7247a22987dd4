// 1-D convolution: one of pictures of one row.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

struct Conv1dOptions {
  int64_t stride = 1;
  int64_t padding = 0;  ///< zeros at both ends
  int64_t dilation = 1;
  int64_t groups = 1;
};

/// x [N, Ci, L], weight [Co, Ci / groups, K], bias [Co] where defined -> [N, Co, Lo] with
/// Lo = floor((L + 2 padding - dilation (K - 1) - 1) / stride) + 1: conv2d() of one row. kUsage where
/// operands do not fit. PyTorch's F.conv1d.
Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv1dOptions& options = {});

}  // namespace wholestep
