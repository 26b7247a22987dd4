// How far estimated numbers lie from their targets: what stands where accuracy stands for classes.
#pragma once
#include <cmath>
#include <optional>
#include <span>

#include "wholestep/graph/tensor.h"

namespace wholestep {

/// Errors are means over all samples and targets, in the units of the targets.
struct Regression {
  double mae = 0, mse = 0;
  /// 1 - sum (t - y)^2 / sum (t - mean t)^2, averaged over the targets; absent where a target is constant.
  std::optional<double> r2;
  double rmse() const { return std::sqrt(mse); }
};

/// The sums over a batch that all of these follow from, f64 [4, targets]: |d|, d^2, t and t^2 with d = y - t.
/// y and t are [N, targets].
Tensor regression_sums(const Tensor& y, const Tensor& t);
/// From such sums, added up over `samples`; absent for none.
std::optional<Regression> regression_of(std::span<const double> sums, int64_t samples);

}  // namespace wholestep
