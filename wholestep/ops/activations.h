// Activation functions beyond those of elementwise.h, composed of its ops: each fuses into one kernel.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

/// x where x > 0, else weight * x (He et al. 2015); weight [1], or [C] for axis 1 of x.
Tensor prelu(const Tensor& x, const Tensor& weight);
/// x where x > 0, else alpha (exp(x) - 1) (Clevert et al. 2016).
Tensor elu(const Tensor& x, double alpha = 1);
/// 1.0507 elu(x, 1.6733), which keeps mean 0 and variance 1 through layers (Klambauer et al. 2017).
Tensor selu(const Tensor& x);
/// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (Hendrycks & Gimpel 2016).
Tensor gelu_tanh(const Tensor& x);
/// log(1 + exp(beta x)) / beta, x itself where beta x > threshold.
Tensor softplus(const Tensor& x, double beta = 1, double threshold = 20);
/// x tanh(softplus(x)) (Misra 2019).
Tensor mish(const Tensor& x);
/// x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019).
Tensor hardswish(const Tensor& x);

}  // namespace wholestep
