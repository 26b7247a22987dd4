#include "wholestep/ops/pointwise.h"

#include <limits>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/arrange.h"

namespace wholestep {

Tensor clamp(const Tensor& x, std::optional<double> min, std::optional<double> max) {
  if (!min && !max)
    throw Error(ErrorCode::kUsage, {.what = "clamp needs a lower or an upper bound", .got = "neither"});
  Tensor result = min ? where(x < *min, *min, x) : x;  // not maximum(), which shares the gradient at a tie
  return max ? where(result > *max, *max, result) : result;
}
Tensor clamp(const Tensor& x, const Tensor& min, const Tensor& max) {
  Tensor result = where(x < min, min, x);
  return where(result > max, max, result);
}

Tensor isnan(const Tensor& x) { return not_equal(x, x); }
Tensor isinf(const Tensor& x) { return equal(abs(x), std::numeric_limits<double>::infinity()); }
Tensor logical_not(const Tensor& x) { return equal(x, 0.0); }
Tensor ceil(const Tensor& x) { return -floor(-x); }

Tensor round(const Tensor& x) {
  Tensor below = floor(x), over = x - below;
  Tensor odd = below - 2.0 * floor(below * 0.5);  // 0 or 1
  return below + cast(logical_or(over > 0.5, logical_and(equal(over, 0.5), odd > 0.0)), x.dtype());
}

namespace {
/// Where fmod(x, y) = m has the other sign than y: there floor(x / y) is one below the truncated quotient.
Tensor signs_differ(const Tensor& m, const Tensor& y) {
  return logical_and(not_equal(m, 0.0), not_equal(m < 0.0, y < 0.0));
}
}  // namespace

Tensor remainder(const Tensor& x, const Tensor& y) {
  return rounded_once(x, [&](const Tensor& w) {
    Tensor v = widened(y), m = fmod(w, v);
    return where(signs_differ(m, v), m + v, m);
  });
}
Tensor remainder(const Tensor& x, double y) { return remainder(x, scalar(y, x.dtype())); }
Tensor floor_divide(const Tensor& x, const Tensor& y) {
  return rounded_once(x, [&](const Tensor& w) {
    Tensor v = widened(y), m = fmod(w, v);
    Tensor quotient = round((w - m) / v) - cast(signs_differ(m, v), w.dtype());
    return where(equal(v, 0.0), floor(w / v), quotient);
  });
}
Tensor floor_divide(const Tensor& x, double y) { return floor_divide(x, scalar(y, x.dtype())); }

Tensor lerp(const Tensor& start, const Tensor& end, double weight) {
  return rounded_once(start, [&](const Tensor& w) { return w + weight * (widened(end) - w); });
}

Tensor elu(const Tensor& x, double alpha) {
  return rounded_once(
      x, [=](const Tensor& w) { return where(w > 0.0, w, expm1(clamp(w, std::nullopt, 0)) * alpha); });
}
Tensor celu(const Tensor& x, double alpha) {
  return rounded_once(x, [=](const Tensor& w) {
    return where(w > 0.0, w, expm1(clamp(w, std::nullopt, 0) / alpha) * alpha);
  });
}
Tensor prelu(const Tensor& x, const Tensor& weight) {
  if (weight.rank() != 1 || (weight.dim(0) != 1 && (x.rank() < 2 || x.dim(1) != weight.dim(0))))
    throw Error(ErrorCode::kUsage, {.what = "prelu needs one slope, or one for every channel of x",
                                    .got = to_string(x.type()) + " and " + to_string(weight.type()),
                                    .expected = "weight [1], or [C] for x [N, C, ...]"});
  Shape slopes{weight.dim(0)};
  for (int axis = 2; axis < x.rank(); ++axis) slopes.push_back(1);
  return where(x > 0.0, x, reshape(weight, slopes) * x);
}

Tensor selu(const Tensor& x) {
  return rounded_once(x,
                      [](const Tensor& w) { return elu(w, 1.6732632423543772848) * 1.0507009873554804934; });
}
Tensor softplus(const Tensor& x, double beta, double threshold) {
  return rounded_once(x, [=](const Tensor& w) {
    Tensor scaled = w * beta;
    return where(scaled > threshold, w, log1p(exp(clamp(scaled, std::nullopt, threshold))) / beta);
  });
}
Tensor logsigmoid(const Tensor& x) { return -softplus(-x); }
Tensor mish(const Tensor& x) {
  return rounded_once(x, [](const Tensor& w) { return w * tanh(softplus(w)); });
}
Tensor softsign(const Tensor& x) {
  return rounded_once(x, [](const Tensor& w) { return w / (1.0 + abs(w)); });
}
Tensor hardtanh(const Tensor& x, double min_val, double max_val) {
  return where(x <= min_val, min_val, where(x >= max_val, max_val, x));
}
Tensor relu6(const Tensor& x) { return hardtanh(x, 0, 6); }
Tensor hardsigmoid(const Tensor& x) {
  return rounded_once(x, [](const Tensor& w) { return relu6(w + 3.0) / 6.0; });
}
Tensor hardswish(const Tensor& x) {
  return rounded_once(x, [](const Tensor& w) { return w * hardsigmoid(w); });
}
Tensor tanhshrink(const Tensor& x) {
  return rounded_once(x, [](const Tensor& w) { return w - tanh(w); });
}
Tensor gelu_tanh(const Tensor& x) {
  return rounded_once(x, [](const Tensor& w) {
    return w * 0.5 * (1.0 + tanh(0.79788456080286536 * (w + 0.044715 * w * w * w)));
  });
}

Tensor glu(const Tensor& x, int64_t axis) {
  const int64_t extent = x.dim(axis);
  if (extent % 2 != 0)
    throw Error(ErrorCode::kUsage, {.what = "glu halves an axis of even extent", .got = to_string(x.type())});
  std::vector<Tensor> halves = split(x, {extent / 2, extent / 2}, axis);
  return rounded_once(halves[0], [&](const Tensor& w) { return w * sigmoid(widened(halves[1])); });
}

}  // namespace wholestep
