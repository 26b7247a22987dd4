// Batch normalisation with the statistics of the batch (Ioffe & Szegedy 2015). With recorded statistics, as
// in evaluation, it is a composition of element-wise ops.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

struct BatchNormResult {
  Tensor y;     ///< like x
  Tensor mean;  ///< [C], of f16 and bf16 in f32
  Tensor var;   ///< the same, biased: divided by the number of elements of a channel
};

/// y = (x - mean) / sqrt(var + eps) * gamma + beta for x [N, C, ...], mean and variance over all axes but C,
/// gamma and beta [C]; one floating-point dtype, or f32 beside x of f16 or bf16; statistics accumulated in
/// f64. All three results carry gradients. kUsage where x has another number of channels than gamma and beta
/// have elements, or none a channel.
BatchNormResult batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps = 1e-5);

/// The same with given statistics: y = (x - mean) / sqrt(var + eps) * gamma + beta.
Tensor batch_norm_with(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                       const Tensor& var, double eps = 1e-5);

}  // namespace wholestep
