// Each sample's values as rows, normalised, and given their shape back.
#include "wholestep/ops/norm.h"

#include <fmt/format.h>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"

namespace wholestep {
namespace {

/// The last axes of x, as many as `normalized` has.
std::vector<int64_t> normalized_axes(const Tensor& x, const Shape& normalized) {
  bool fits = normalized.rank() > 0 && x.rank() >= normalized.rank();
  std::vector<int64_t> axes;
  for (int axis = x.rank() - normalized.rank(), i = 0; fits && i < normalized.rank(); ++axis, ++i) {
    fits = x.dim(axis) == normalized[i];
    axes.push_back(axis);
  }
  if (!fits)
    throw Error(ErrorCode::kUsage, {.what = "x does not end in the shape to be normalised",
                                    .got = to_string(x.type()),
                                    .expected = "the last axes to be " + to_string(normalized)});
  return axes;
}

Tensor standardized(const Tensor& x, const std::vector<int64_t>& axes, double eps) {
  Tensor centred = x - mean(x, axes, true);
  return centred * rsqrt(mean(square(centred), axes, true) + eps);
}

Tensor affine(Tensor x, const Tensor& weight, const Tensor& bias) {
  if (weight.defined()) x = x * weight;
  return bias.defined() ? x + bias : x;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Shape& normalized, const Tensor& weight, const Tensor& bias,
                  double eps) {
  return rounded_once(x, [&](const Tensor& wide) {
    return affine(standardized(wide, normalized_axes(x, normalized), eps), widened(weight), widened(bias));
  });
}

Tensor rms_norm(const Tensor& x, const Shape& normalized, const Tensor& weight, double eps) {
  return rounded_once(x, [&](const Tensor& wide) {
    return affine(wide * rsqrt(mean(square(wide), normalized_axes(x, normalized), true) + eps),
                  widened(weight), {});
  });
}

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps) {
  if (x.rank() < 2 || groups < 1 || x.dim(1) % groups != 0)
    throw Error(ErrorCode::kUsage, {.what = "the channels of x cannot be cut into so many groups",
                                    .got = fmt::format("{} and {} groups", to_string(x.type()), groups),
                                    .expected = "[N, C, ...] with C a multiple of the groups"});
  int64_t per_group = x.numel() == 0 ? 0 : x.numel() / (x.dim(0) * groups);
  Shape channels{x.dim(1)};
  for (int axis = 2; axis < x.rank(); ++axis) channels.push_back(1);
  auto of_channels = [&](const Tensor& t) { return t.defined() ? reshape(widened(t), channels) : t; };
  return rounded_once(x, [&](const Tensor& wide) {
    Tensor rows = reshape(wide, Shape{x.dim(0), groups, per_group});
    return affine(reshape(standardized(rows, {2}, eps), x.shape()), of_channels(weight), of_channels(bias));
  });
}

}  // namespace wholestep
