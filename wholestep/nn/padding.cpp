// Borders made of slices of the input.
#include "wholestep/nn/padding.h"

#include <fmt/format.h>

#include "wholestep/ops/arrange.h"

namespace wholestep::nn {

ConfigField padding_field(Padding& padding) {
  return {"padding", &padding, "added on each side; \"same\" keeps the extents of x", {.min = 0}};
}

ConfigField padding_mode_field(std::string& mode) {
  return {"padding_mode", &mode, "what is added", {}, {"zeros", "reflect", "replicate", "circular"}};
}

std::vector<std::string> padding_problems(const Padding& padding, const Size2d& stride) {
  if (!padding.same || stride == Size2d(1)) return {};
  return {fmt::format("'stride' got {}, expected 1 where 'padding' is \"same\"", to_string(stride))};
}

Tensor pad_with(const Tensor& x, int64_t axis, int64_t before, int64_t after, const std::string& mode) {
  if (before == 0 && after == 0) return x;
  if (mode == "zeros") return pad(x, axis, before, after);
  int64_t n = x.dim(axis), most = mode == "reflect" ? n - 1 : n;
  if (n == 0 || (mode != "replicate" && std::max(before, after) > most))
    throw Error(
        ErrorCode::kUsage,
        {.what = fmt::format("the padding \"{}\" is longer than there are elements", mode),
         .where = Scope::source(),
         .got = fmt::format("{} and {} along axis {} of {}", before, after, axis, to_string(x.type())),
         .expected = fmt::format("at most {}", std::max<int64_t>(most, 0))});
  auto border = [&](int64_t count, int64_t mirrored, int64_t edge, int64_t other_end) {
    if (mode == "reflect") return flip(slice(x, axis, mirrored, mirrored + count), {axis});
    if (mode == "circular") return slice(x, axis, other_end, other_end + count);
    Shape shape = x.shape();
    shape.set(static_cast<int>(axis), count);
    return expand(slice(x, axis, edge, edge + 1), shape);
  };
  std::vector<Tensor> parts;
  if (before > 0) parts.push_back(border(before, 1, 0, n - before));
  parts.push_back(x);
  if (after > 0) parts.push_back(border(after, n - 1 - after, n - 1, 0));
  return concat(parts, axis);
}

Tensor padded_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, Conv2dOptions options,
                     const Padding& padding, const std::string& mode) {
  const int64_t asked[] = {padding.height, padding.width};
  Tensor padded = x;
  for (size_t i = 0; i < 2; ++i) {
    int64_t axis = static_cast<int64_t>(i) + 2;
    int64_t both = padding.same ? options.dilation[i] * (weight.dim(axis) - 1) : 2 * asked[i];
    int64_t before = both / 2, odd = both - 2 * before;
    if (mode == "zeros") {
      options.padding[i] = before;  // the op's own
      padded = pad_with(padded, axis, 0, odd, mode);
    } else {
      options.padding[i] = 0;
      padded = pad_with(padded, axis, before, before + odd, mode);
    }
  }
  return conv2d(padded, weight, bias, options);
}

}  // namespace wholestep::nn
