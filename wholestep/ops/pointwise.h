// Element-wise functions composed of the element-wise ops; the compiler makes one loop of each. x is
// floating-point where not said otherwise. Names, defaults and formulas are PyTorch's.
#pragma once
#include <optional>

#include "wholestep/ops/elementwise.h"

namespace wholestep {

/// Not below min, not above max; NaN stays. Any numeric dtype. The gradient at a bound is 1. kUsage where
/// both are left out.
Tensor clamp(const Tensor& x, std::optional<double> min, std::optional<double> max = std::nullopt);
Tensor clamp(const Tensor& x, const Tensor& min, const Tensor& max);
Tensor isnan(const Tensor& x);        ///< bool, of any dtype
Tensor isinf(const Tensor& x);        ///< bool
Tensor logical_not(const Tensor& x);  ///< bool, of any dtype: x is 0
Tensor ceil(const Tensor& x);         ///< smallest integer not below x; gradient 0
Tensor round(const Tensor& x);        ///< nearest integer, ties to even; gradient 0
/// x - y * floor(x / y) of the exact quotient: 0, or of the sign of y (fmod(), an element-wise op, is 0 or of
/// the sign of x). NaN where y is 0.
Tensor remainder(const Tensor& x, const Tensor& y);
Tensor remainder(const Tensor& x, double y);
/// floor(x / y) of the exact quotient, so that x is floor_divide(x, y) * y + remainder(x, y); gradient 0.
Tensor floor_divide(const Tensor& x, const Tensor& y);
Tensor floor_divide(const Tensor& x, double y);
Tensor lerp(const Tensor& start, const Tensor& end, double weight);  ///< start + weight * (end - start)

Tensor elu(const Tensor& x, double alpha = 1);   ///< x where x > 0, else alpha * (exp(x) - 1)
Tensor celu(const Tensor& x, double alpha = 1);  ///< x where x > 0, else alpha * (exp(x / alpha) - 1)
/// x where x > 0, else weight * x (He et al. 2015); weight [1], or [C] for axis 1 of x. kUsage for another
/// shape.
Tensor prelu(const Tensor& x, const Tensor& weight);
Tensor selu(const Tensor& x);  ///< 1.0507 * elu(x, 1.6733) (Klambauer et al. 2017)
/// log(1 + exp(beta x)) / beta; x where beta x > threshold.
Tensor softplus(const Tensor& x, double beta = 1, double threshold = 20);
Tensor logsigmoid(const Tensor& x);  ///< log(sigmoid(x)), without overflow
Tensor mish(const Tensor& x);        ///< x * tanh(softplus(x)) (Misra 2019)
Tensor softsign(const Tensor& x);    ///< x / (1 + |x|)
/// x within bounds, outside the bound; gradient 0 from the bounds on.
Tensor hardtanh(const Tensor& x, double min_val = -1, double max_val = 1);
Tensor relu6(const Tensor& x);        ///< hardtanh(x, 0, 6)
Tensor hardsigmoid(const Tensor& x);  ///< relu6(x + 3) / 6
Tensor hardswish(const Tensor& x);    ///< x * hardsigmoid(x) (Howard et al. 2019)
Tensor tanhshrink(const Tensor& x);   ///< x - tanh(x)
/// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2: PyTorch's gelu with approximate="tanh".
Tensor gelu_tanh(const Tensor& x);
/// a * sigmoid(b), where a and b are the halves of x along the axis. kUsage where it is odd.
Tensor glu(const Tensor& x, int64_t axis = -1);

}  // namespace wholestep
