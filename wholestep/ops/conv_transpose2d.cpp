// conv2d_dx under its other name.
#include "wholestep/ops/conv_transpose2d.h"

#include <fmt/format.h>

#include "wholestep/graph/widen.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/shape.h"

namespace wholestep {

Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& o,
                        const std::array<int64_t, 2>& output_padding) {
  if (x.rank() != 4 || weight.rank() != 4 || x.dim(1) != weight.dim(0) || o.groups < 1)
    throw Error(ErrorCode::kUsage, {.what = "operands of a transposed convolution do not fit",
                                    .got = to_string(x.type()) + " and " + to_string(weight.type()),
                                    .expected = "x [N, Ci, H, W], weight [Ci, Co / groups, Kh, Kw]"});
  std::vector<int64_t> size;
  for (size_t i = 0; i < 2; ++i) {
    int64_t axis = static_cast<int64_t>(i) + 2;
    if (output_padding[i] < 0 || output_padding[i] >= std::max(o.stride[i], o.dilation[i]))
      throw Error(ErrorCode::kUsage, {.what = "output_padding of a transposed convolution is out of range",
                                      .got = std::to_string(output_padding[i]),
                                      .expected = "0 or more, and less than stride or dilation"});
    size.push_back((x.dim(axis) - 1) * o.stride[i] - 2 * o.padding[i] +
                   o.dilation[i] * (weight.dim(axis) - 1) + output_padding[i] + 1);
  }
  auto pair = [](const std::array<int64_t, 2>& values) {
    return std::vector<int64_t>(values.begin(), values.end());
  };
  Attrs attrs = {{"stride", pair(o.stride)},
                 {"padding", pair(o.padding)},
                 {"dilation", pair(o.dilation)},
                 {"groups", o.groups},
                 {"size", size}};
  return rounded_once(x, [&](const Tensor& wide) {
    Tensor y = apply1(find_op("conv2d_dx"), {wide, widened(weight)}, attrs);
    return bias.defined() ? y + reshape(widened(bias), Shape{bias.numel(), 1, 1}) : y;
  });
}

}  // namespace wholestep
