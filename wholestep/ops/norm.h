// Normalisation over axes of each sample, composed of reductions and element-wise ops. (Over the batch:
// batch_norm.h.)
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

/// (x - mean) / sqrt(var + eps) * weight + bias over the last axes, as many as `normalized` has (Ba et al.
/// 2016); weight and bias of shape `normalized`, or undefined. kUsage where x does not end in `normalized`.
Tensor layer_norm(const Tensor& x, const Shape& normalized, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);
/// x / sqrt(mean of x^2 + eps) * weight over the last axes (Zhang & Sennrich 2019). eps is that of f32 for
/// every dtype; PyTorch's default for f64 is that of f64.
Tensor rms_norm(const Tensor& x, const Shape& normalized, const Tensor& weight = {}, double eps = 0x1p-23);
/// The same as layer_norm over groups of channels of x [N, C, ...] (Wu & He 2018); weight and bias [C], or
/// undefined. kUsage where `groups` does not divide C.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);

}  // namespace wholestep
