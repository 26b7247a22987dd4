#include "wholestep/ops/creation.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "wholestep/graph/graph.h"
#include "wholestep/ops/shape.h"

namespace wholestep {
namespace {

/// Element i is number(i), rounded to the dtype.
template <class Number>
Tensor made_of(const Shape& shape, DType dtype, Number&& number) {
  Tensor result = empty({dtype, shape});
  visit_stored(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; T & element : result.data<T>()) element = static_cast<T>(number(i++));
  });
  return result;
}

}  // namespace

Tensor ones(const Shape& shape, DType dtype) {
  return made_of(shape, dtype, [](int64_t) { return 1.0; });
}

Tensor arange(double start, double stop, double step, DType dtype) {
  const double count = std::ceil((stop - start) / step);
  if (!(count >= 0 && std::isfinite(count)))
    throw Error(ErrorCode::kUsage, {.what = "no step leads from start to stop",
                                    .got = fmt::format("{} to {} by {}", start, stop, step)});
  return made_of({static_cast<int64_t>(count)}, dtype,
                 [&](int64_t i) { return start + static_cast<double>(i) * step; });
}

Tensor linspace(double start, double stop, int64_t steps, DType dtype) {
  const double last = static_cast<double>(steps - 1);
  return made_of({steps}, dtype, [&](int64_t i) {  // from the nearer end, so that both are exact
    const double at = static_cast<double>(i), step = last > 0 ? (stop - start) / last : 0;
    return at < last / 2 || last == 0 ? start + at * step : stop - (last - at) * step;
  });
}

Tensor eye(int64_t rows, int64_t columns, DType dtype) {
  if (columns < 0) columns = rows;
  return made_of({rows, columns}, dtype, [&](int64_t i) { return i / columns == i % columns ? 1.0 : 0.0; });
}

Tensor rand(const Shape& shape, DType dtype) { return cast(random_uniform(shape), dtype); }

Tensor randn(const Shape& shape, DType dtype) {
  Tensor radius = sqrt(-2.0 * log(1.0 - random_uniform(shape)));
  return cast(radius * cos(random_uniform(shape) * (2 * std::numbers::pi)), dtype);
}

void manual_seed(uint64_t seed) {
  RandomState& state = RandomState::current();
  const RandomState fresh(seed);
  state.seed.assign(fresh.seed);
  state.step.assign(fresh.step);
  state.next_node = 0;
}

namespace {

/// Where `x` lies, if it lies anywhere yet.
Tensor beside(const Tensor& x, const Tensor& made) {
  return x.symbolic() || made.symbolic() ? made : made.to(device_of(x));
}

}  // namespace

Tensor new_full(const Tensor& x, const Shape& shape, double value, DType dtype) {
  if (x.symbolic() || Trace::current()) return full(shape, value, dtype);
  return apply_on(device_of(x), find_op("full"), full_attrs(value, {dtype, shape}))[0];
}
Tensor full_like(const Tensor& x, double value) { return new_full(x, x.shape(), value, x.dtype()); }
Tensor zeros_like(const Tensor& x) { return full_like(x, 0); }
Tensor ones_like(const Tensor& x) { return full_like(x, 1); }
Tensor rand_like(const Tensor& x) { return beside(x, rand(x.shape(), x.dtype())); }
Tensor randn_like(const Tensor& x) { return beside(x, randn(x.shape(), x.dtype())); }

}  // namespace wholestep
