// Tensors from a rule: ranges, identities, random numbers. Those of other tensors' shapes work on symbolic
// ones too. Names and defaults are PyTorch's.
#pragma once
#include <concepts>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/random.h"

namespace wholestep {

/// Every element 0, or 1.
inline Tensor zeros(const Shape& shape, DType dtype = DType::f32) { return zeros(TensorType{dtype, shape}); }
Tensor ones(const Shape& shape, DType dtype = DType::f32);
/// start, start + step, ... before stop. kUsage where step does not lead from start to stop.
Tensor arange(double start, double stop, double step, DType dtype);
/// i64 of integers, f32 of floating-point numbers.
template <class T>
requires std::integral<T> || std::floating_point<T> Tensor arange(T start, T stop, T step = 1) {
  return arange(static_cast<double>(start), static_cast<double>(stop), static_cast<double>(step),
                std::integral<T> ? DType::i64 : DType::f32);
}
/// The same from 0 by 1.
template <class T>
Tensor arange(T stop) {
  return arange(T(0), stop);
}
/// `steps` numbers from start to stop, both included, evenly apart.
Tensor linspace(double start, double stop, int64_t steps, DType dtype = DType::f32);
/// [rows, columns] with ones on the diagonal; square where columns is left out.
Tensor eye(int64_t rows, int64_t columns = -1, DType dtype = DType::f32);

/// Uniform in [0, 1), on a grid of 2^-24. Drawn from the current RandomState: anew at every run of a compiled
/// step.
Tensor rand(const Shape& shape, DType dtype = DType::f32);
/// Normal with mean 0 and variance 1, from pairs of the above (Box & Muller 1958); at most 5.8 from 0.
Tensor randn(const Shape& shape, DType dtype = DType::f32);
/// Restarts the current RandomState of this thread from a seed.
void manual_seed(uint64_t seed);

/// Where x lies.
Tensor new_full(const Tensor& x, const Shape& shape, double value, DType dtype);
/// Of the shape and dtype of x, where it lies.
Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);
Tensor full_like(const Tensor& x, double value);
Tensor rand_like(const Tensor& x);
Tensor randn_like(const Tensor& x);

}  // namespace wholestep
