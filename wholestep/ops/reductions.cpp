// Compositions: what has a gradient here has it from the ops below, of any order.
#include "wholestep/ops/reductions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/arrange.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/shape.h"

namespace wholestep {
namespace {

/// What sums and products of x are of.
DType summed_dtype(const Tensor& x) { return is_floating(x.dtype()) ? x.dtype() : DType::i64; }

/// x in the opposite order, without overflow: the opposite of the opposite is x.
Tensor opposite(const Tensor& x) { return is_floating(x.dtype()) ? -x : -1.0 - cast(x, DType::i64); }

/// root(x) where x is not 0, else 0 with a gradient of 0.
template <class Root>
Tensor root_or_zero(const Tensor& x, Root&& root) {
  Tensor zero = equal(x, 0.0);
  return where(zero, 0.0, root(where(zero, 1.0, x)));
}

/// The shape of a reduction of x, axes kept as 1 or gone: that of its sum.
struct Reduced {
  std::vector<int64_t> kept_axes, axes;
  Shape kept, result;

  Reduced(const Tensor& x, const std::vector<int64_t>& given, bool keep_dims) {
    for (int64_t axis : given) axes.push_back(normalize_axis(axis, x.rank()));
    for (int axis = 0; axis < x.rank(); ++axis) {
      bool reduced = given.empty() || std::ranges::find(axes, axis) != axes.end();
      if (!reduced) kept_axes.push_back(axis), kept.push_back(x.shape()[axis]);
      if (!reduced || keep_dims) result.push_back(reduced ? 1 : x.shape()[axis]);
    }
    if (given.empty())
      for (int axis = 0; axis < x.rank(); ++axis) axes.push_back(axis);
    if (axes.size() + kept_axes.size() != static_cast<size_t>(x.rank()))
      throw Error(ErrorCode::kUsage, {.what = "an axis is named twice in a reduction",
                                      .got = to_string(Attrs{{"axes", given}})});
  }
};

}  // namespace

Tensor min(const Tensor& x, std::vector<int64_t> axes, bool keep_dims) {
  return cast(opposite(max(opposite(x), std::move(axes), keep_dims)), x.dtype());
}

Tensor argmax(const Tensor& x) { return argmax(reshape(x, {-1}), 0); }
Tensor argmin(const Tensor& x, int64_t axis, bool keep_dims) { return argmax(opposite(x), axis, keep_dims); }
Tensor argmin(const Tensor& x) { return argmin(reshape(x, {-1}), 0); }

Tensor prod(const Tensor& x, std::vector<int64_t> axes, bool keep_dims) {
  Reduced r(x, axes, keep_dims);
  std::vector<int64_t> order = r.kept_axes;
  order.insert(order.end(), r.axes.begin(), r.axes.end());
  int64_t n = 1;
  for (int64_t axis : r.axes) n *= x.dim(axis);
  Shape rows = r.kept;
  rows.push_back(n);
  return rounded_once(cast(x, summed_dtype(x)), [&](const Tensor& wide) {
    Tensor factors = reshape(permute(wide, order), rows);
    if (n == 0) return new_full(factors, r.result, 1, factors.dtype());
    for (; n > 1; n -= n / 2) {
      int64_t half = n / 2;
      Tensor products = slice(factors, -1, 0, half) * slice(factors, -1, half, 2 * half);
      factors = n % 2 == 0 ? products : concat({products, slice(factors, -1, n - 1, n)}, -1);
    }
    return reshape(factors, r.result);
  });
}

Tensor var(const Tensor& x, std::vector<int64_t> axes, double correction, bool keep_dims) {
  return rounded_once(x, [&](const Tensor& wide) {
    Tensor total = sum(square(wide - mean(wide, axes, true)), axes, keep_dims);
    double n = static_cast<double>(x.numel()) / static_cast<double>(std::max<int64_t>(total.numel(), 1));
    return total / std::max(n - correction, 0.0);
  });
}

Tensor std(const Tensor& x, std::vector<int64_t> axes, double correction, bool keep_dims) {
  return rounded_once(x, [&](const Tensor& wide) {
    return root_or_zero(var(wide, std::move(axes), correction, keep_dims),
                        [](const Tensor& v) { return sqrt(v); });
  });
}

Tensor norm(const Tensor& x, double p, std::vector<int64_t> axes, bool keep_dims) {
  if (is_half(x.dtype())) return norm(widened(x), p, std::move(axes), keep_dims).to(x.dtype());
  if (!is_floating(x.dtype()) || std::isnan(p))
    throw Error(ErrorCode::kUsage, {.what = "a norm of a real order is taken of floating-point numbers",
                                    .got = fmt::format("order {} of {}", p, to_string(x.type())),
                                    .hint = "cast() first"});
  if (std::isinf(p)) return p > 0 ? max(abs(x), axes, keep_dims) : min(abs(x), axes, keep_dims);
  if (p == 0) return sum(cast(not_equal(x, 0.0), x.dtype()), axes, keep_dims);
  if (p == 1) return sum(abs(x), axes, keep_dims);
  if (p == 2)
    return root_or_zero(sum(square(x), axes, keep_dims), [](const Tensor& total) { return sqrt(total); });
  return root_or_zero(sum(pow(abs(x), p), axes, keep_dims),
                      [p](const Tensor& total) { return pow(total, 1 / p); });
}

Tensor logsumexp(const Tensor& x, std::vector<int64_t> axes, bool keep_dims) {
  if (is_half(x.dtype())) return logsumexp(widened(x), std::move(axes), keep_dims).to(x.dtype());
  Tensor largest = max(x, axes, true).detach();
  largest = where(isfinite(largest), largest, 0.0);  // infinity - infinity is no number
  Tensor result = log(sum(exp(x - largest), axes, true)) + largest;
  return reshape(result, Reduced(x, axes, keep_dims).result);
}

Tensor any(const Tensor& x, std::vector<int64_t> axes, bool keep_dims) {
  return sum(not_equal(x, 0.0), std::move(axes), keep_dims) > 0.0;
}
Tensor all(const Tensor& x, std::vector<int64_t> axes, bool keep_dims) {
  return equal(sum(equal(x, 0.0), std::move(axes), keep_dims), 0.0);
}

Tensor cumsum(const Tensor& x, int64_t axis) {
  axis = normalize_axis(axis, x.rank());
  return rounded_once(cast(x, summed_dtype(x)), [&](Tensor sums) {
    const int64_t n = x.dim(axis);
    for (int64_t reach = 1; reach < n; reach *= 2)  // element i is the sum of the `reach` elements up to it
      sums = concat(
          {slice(sums, axis, 0, reach), slice(sums, axis, reach, n) + slice(sums, axis, 0, n - reach)}, axis);
    return sums;
  });
}

}  // namespace wholestep
