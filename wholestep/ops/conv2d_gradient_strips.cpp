// conv2d_dx_strips and conv2d_dw_strips: rows and cases. Attributes are those of conv2d_dx and conv2d_dw and:
// strips, into how many each sample's rows are cut, of dx, or of g where the weight's gradient is made.
#include "wholestep/ops/conv2d_gradient_strips.h"

#include <fmt/format.h>

#include "wholestep/ops/conv2d_cuda.h"
#include "wholestep/ops/registry.h"

namespace wholestep {
namespace {

int64_t strips_of(const Attrs& attrs) {
  const int64_t strips = attrs.integer("strips"), groups = attrs.integer("groups");
  if (strips < 1 || groups != 1)
    throw Error(ErrorCode::kUsage, {.what = "strips of a convolution's gradient are out of range",
                                    .got = fmt::format("{} strips, {} groups", strips, groups),
                                    .expected = "at least 1 strip, 1 group"});
  return strips;
}

Types infer_dx(std::span<const TensorType> in, const Attrs& attrs) {
  const int64_t strips = strips_of(attrs);
  const TensorType dx = find_op("conv2d_dx").infer(in, attrs)[0];
  const Shape& shape = dx.shape;
  if (shape[2] % (strips * attrs.integers("stride")[0]) != 0)
    throw Error(ErrorCode::kUsage,
                {.what = "strips of a convolution's gradient do not begin where those of its result do",
                 .got = fmt::format("{} strips of {} rows", strips, shape[2]),
                 .expected = "a divisor of the rows, the stride one of the quotient"});
  return {{dx.dtype, {shape[0] * strips, shape[1], shape[2] / strips, shape[3]}}};
}

Types infer_dw(std::span<const TensorType> in, const Attrs& attrs) {
  const int64_t strips = strips_of(attrs);
  Types whole(in.begin(), in.end());
  if (const Shape& g = in[1].shape; g.rank() == 4) {
    if (g[0] % strips != 0)
      throw Error(ErrorCode::kUsage, {.what = "strips do not fit the samples of a convolution's gradient",
                                      .got = fmt::format("{} strips, g {}", strips, to_string(in[1])),
                                      .expected = "as many of each sample"});
    whole[1].shape = joined_strips(g, strips);
  }
  return find_op("conv2d_dw").infer(whole, attrs);
}

/// One strip a sample and several, strides, kernels larger than a strip, padding beyond the kernel's reach.
struct Case {
  Shape x, weight;
  int64_t strips;
  std::vector<int64_t> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
};
const std::vector<Case>& shapes() {
  static const std::vector<Case> all = {
      {.x = {1, 1, 1, 1}, .weight = {1, 1, 1, 1}, .strips = 1},
      {.x = {2, 3, 16, 16}, .weight = {8, 3, 3, 3}, .strips = 4, .stride = {2, 2}, .padding = {1, 1}},
      {.x = {3, 8, 12, 9}, .weight = {11, 8, 3, 3}, .strips = 2, .stride = {2, 2}, .padding = {1, 1}},
      {.x = {3, 2, 12, 7}, .weight = {5, 2, 5, 3}, .strips = 3, .padding = {2, 0}},
      {.x = {2, 5, 8, 11}, .weight = {20, 5, 5, 5}, .strips = 4, .padding = {2, 2}},
      {.x = {2, 2, 12, 16},
       .weight = {3, 2, 2, 3},
       .strips = 2,
       .stride = {1, 3},
       .padding = {1, 2},
       .dilation = {2, 1}},
      {.x = {2, 4, 12, 10}, .weight = {6, 4, 3, 3}, .strips = 3, .padding = {2, 2}, .dilation = {2, 2}},
      {.x = {2, 24, 8, 8}, .weight = {40, 24, 3, 3}, .strips = 4, .padding = {1, 1}},
      {.x = {2, 3, 6, 5}, .weight = {4, 3, 2, 2}, .strips = 3, .padding = {2, 2}},
      {.x = {0, 2, 4, 5}, .weight = {3, 2, 3, 3}, .strips = 2, .padding = {1, 1}}};
  return all;
}
Attrs attrs_of(const Case& c) {
  return {{"stride", c.stride},
          {"padding", c.padding},
          {"dilation", c.dilation},
          {"groups", int64_t{1}},
          {"strips", c.strips}};
}
/// Of the result of the convolution.
Shape result_of(const Case& c) {
  const Types operands = {{DType::f32, c.x}, {DType::f32, c.weight}};
  return find_op("conv2d").infer(operands, attrs_of(c))[0].shape;
}
std::vector<OpCase> dx_cases() {
  std::vector<OpCase> cases;
  for (const Case& c : shapes()) {
    Attrs attrs = attrs_of(c);
    attrs.set({"size", std::vector<int64_t>{c.x[2], c.x[3]}});
    cases.push_back({.inputs = {{DType::f32, result_of(c)}, {DType::f32, c.weight}}, .attrs = attrs});
    cases.push_back(cases.back());
    cases.back().inputs.push_back({DType::f32, c.x});
    cases.back().attrs.set({"activation", "relu_dx"});
    cases.back().distinct = true;
  }
  return cases;
}
std::vector<OpCase> dw_cases() {
  std::vector<OpCase> cases;
  for (const Case& c : shapes()) {
    Attrs attrs = attrs_of(c);
    attrs.set({"kernel", std::vector<int64_t>{c.weight[2], c.weight[3]}});
    const Shape y = result_of(c), g = {y[0] * c.strips, y[1], y[2] / c.strips, y[3]};
    cases.push_back({.inputs = {{DType::f32, c.x}, {DType::f32, g}}, .attrs = attrs});
    cases.push_back(cases.back());
    cases.back().attrs.set({"bias", true});
  }
  return cases;
}

const OpDef k_conv2d_dx_strips{
    .name = "conv2d_dx_strips",
    .doc = "conv2d_dx, each sample's rows cut into so many strips, one behind the other",
    .operands = {"g", "weight", "relu"},
    .shapes =
        "g [N, Co, Ho, Wo], weight [Co, Ci, Kh, Kw], relu [N, Ci, H, W] -> [N strips, Ci, H / strips, W]",
    .infer = infer_dx,
    .flops = conv2d_flops,
    .cases = dx_cases,
    .kernels = {{.backend = "cpu", .name = "reference", .prepare = prepare_conv2d_dx_reference},
                {.backend = "cuda",
                 .name = "tensor strips",
                 .refuse = refuse_conv2d_dx_strips_tensor_cuda,
                 .prepare = prepare_conv2d_dx_strips_tensor_cuda},
                {.backend = "cuda", .name = "plain", .prepare = prepare_conv2d_plain_cuda}}};
const OpDef k_conv2d_dw_strips{
    .name = "conv2d_dw_strips",
    .doc = "conv2d_dw of a g whose samples' rows are cut into so many strips, one behind the other",
    .operands = {"x", "g"},
    .shapes = "x [N, Ci, H, W], g [N strips, Co, Ho / strips, Wo] -> [Co, Ci, Kh, Kw], [Co]",
    .infer = infer_dw,
    .flops = conv2d_flops,
    .cases = dw_cases,
    .kernels = {{.backend = "cpu", .name = "reference", .prepare = prepare_conv2d_dw_reference},
                {.backend = "cuda",
                 .name = "tensor strips",
                 .refuse = refuse_conv2d_dw_strips_tensor_cuda,
                 .prepare = prepare_conv2d_dw_strips_tensor_cuda},
                {.backend = "cuda", .name = "plain", .prepare = prepare_conv2d_plain_cuda}}};

}  // namespace

std::vector<const OpDef*> conv2d_gradient_strips_ops() { return {&k_conv2d_dx_strips, &k_conv2d_dw_strips}; }

}  // namespace wholestep
