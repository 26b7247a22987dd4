// Sums in f64, so that they can be added up over any number of batches.
#include "wholestep/train/regression.h"

#include "wholestep/ops/arrange.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep {

Tensor regression_sums(const Tensor& output, const Tensor& target) {
  Tensor y = cast(output, DType::f64), t = cast(target, DType::f64), d = y - t;
  return stack({sum(abs(d), {0}), sum(square(d), {0}), sum(t, {0}), sum(square(t), {0})});
}

std::optional<Regression> regression_of(std::span<const double> sums, int64_t samples) {
  size_t targets = sums.size() / 4;
  if (samples == 0 || targets == 0) return std::nullopt;
  double n = static_cast<double>(samples), width = static_cast<double>(targets), r2 = 0;
  bool varied = true;
  Regression result;
  for (size_t k = 0; k < targets; ++k) {
    double absolute = sums[k], squares = sums[targets + k], t = sums[2 * targets + k],
           t_squares = sums[3 * targets + k], spread = t_squares - t * t / n;
    result.mae += absolute / n / width;
    result.mse += squares / n / width;
    // Of a constant target rounding is left, relative to its squares.
    varied = varied && spread > 1e-12 * t_squares;
    r2 += (1 - squares / spread) / width;
  }
  if (varied) result.r2 = r2;
  return result;
}

}  // namespace wholestep
