// Element-wise ops with NumPy broadcasting, generated from elementwise_table.inc, and the operators on
// Tensors. Operands have one dtype; a double operand becomes a scalar of the other operand's dtype. Integers
// wrap around.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

#define UNARY(name, domain, expression, dx) Tensor name(const Tensor& x);
#define BINARY(name, domain, expression, dx, dy) \
  Tensor name(const Tensor& x, const Tensor& y); \
  Tensor name(const Tensor& x, double y);        \
  Tensor name(double x, const Tensor& y);
#define COMPARE(name, domain, expression) BINARY(name, domain, expression, , )
#define TERNARY(name, domain, expression, dx, dy, dz)             \
  Tensor name(const Tensor& x, const Tensor& y, const Tensor& z); \
  Tensor name(const Tensor& x, const Tensor& y, double z);        \
  Tensor name(const Tensor& x, double y, const Tensor& z);
#include "wholestep/ops/elementwise_table.inc"
#undef UNARY
#undef BINARY
#undef COMPARE
#undef TERNARY

/// Converted element by element; bool is x != 0. Gradient: converted back, for floating-point dtypes.
Tensor cast(const Tensor& x, DType dtype);
/// A tensor filled with one value. In a trace it costs nothing: it becomes an immediate of the kernels that
/// read it.
Tensor full(const Shape& shape, double value, DType dtype = DType::f32);
/// True where x is neither NaN nor infinite.
Tensor isfinite(const Tensor& x);

// Compositions.
Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);  ///< x where x > 0, else negative_slope * x
Tensor gelu(const Tensor& x);  ///< x * Phi(x), exact (Hendrycks & Gimpel 2016)
Tensor silu(const Tensor& x);  ///< x * sigmoid(x) (Elfwing et al. 2017)

#define WHOLESTEP_OPERATOR(symbol, function)                                                 \
  inline Tensor operator symbol(const Tensor& x, const Tensor& y) { return function(x, y); } \
  inline Tensor operator symbol(const Tensor& x, double y) { return function(x, y); }        \
  inline Tensor operator symbol(double x, const Tensor& y) { return function(x, y); }
WHOLESTEP_OPERATOR(+, add)
WHOLESTEP_OPERATOR(-, sub)
WHOLESTEP_OPERATOR(*, mul)
WHOLESTEP_OPERATOR(/, div)
WHOLESTEP_OPERATOR(>, greater)
WHOLESTEP_OPERATOR(>=, greater_equal)
WHOLESTEP_OPERATOR(<, less)
WHOLESTEP_OPERATOR(<=, less_equal)
#undef WHOLESTEP_OPERATOR
inline Tensor operator-(const Tensor& x) { return neg(x); }  ///< neg(x)

}  // namespace wholestep
