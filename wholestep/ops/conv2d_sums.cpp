// conv2d_sums and conv2d_sums_dw: rows and cases. Where the gradient of y = relu(conv2d(x)) is one number g
// for all pixels of a channel, that of the weight is g times the sum of x under each tap over the pixels
// where y is above 0. Those sums can be made with y, before g is known, and y need not be kept.
#include "wholestep/ops/conv2d_sums.h"

#include <fmt/format.h>

#include "wholestep/ops/pixel_program.h"
#include "wholestep/ops/registry.h"

namespace wholestep {
namespace {

Types infer_sums(std::span<const TensorType> in, const Attrs& attrs) {
  const Shape y = find_op("conv2d").infer(behind_program(in, attrs), attrs)[0].shape;
  if (attrs.integer("groups") != 1)
    throw Error(ErrorCode::kUsage, {.what = "sums over a convolution take one group",
                                    .got = std::to_string(attrs.integer("groups"))});
  const DType dtype = in[1].dtype;
  const Shape &weight = in[1].shape, sums = {y[0], y[1]};
  return {{dtype, sums}, {dtype, {y[0], y[1], weight[1], weight[2], weight[3]}}, {dtype, sums}};
}

Types infer_sums_dw(std::span<const TensorType> in, const Attrs& attrs) {
  const Shape &patches = in[0].shape, &positive = in[1].shape, &g = in[2].shape;
  if (!is_floating(in[0].dtype) || in[1].dtype != in[0].dtype || in[2].dtype != in[0].dtype ||
      patches.rank() != 5 || positive != Shape{patches[0], patches[1]} || g != positive)
    throw Error(ErrorCode::kUsage,
                {.what = "sums over a convolution and the gradient of their totals do not fit each other",
                 .got = fmt::format("{}, {} and {}", to_string(in[0]), to_string(in[1]), to_string(in[2])),
                 .expected = "[N, Co, Ci, Kh, Kw], [N, Co] and [N, Co] of one floating-point dtype"});
  Types types = {{in[0].dtype, {patches[1], patches[2], patches[3], patches[4]}}};
  if (attrs.has("bias")) types.push_back({in[0].dtype, {patches[1]}});
  return types;
}

/// What `use` makes of the request for the convolution alone.
template <class Use>
auto of_convolution(const KernelRequest& request, Use use) {
  const Types operands = behind_program(request.inputs, request.attrs),
              y = find_op("conv2d").infer(operands, request.attrs);
  return use(KernelRequest{"conv2d", operands, y, request.attrs});
}

double sums_flops(const KernelRequest& request) {  // the sums under taps cost as much as y
  return 2 * of_convolution(request, find_op("conv2d").flops);
}
double sums_dw_flops(const KernelRequest& request) {
  return 2.0 * static_cast<double>(request.inputs[0].shape.numel());
}

/// Rows of whole groups of pixels and others, channels and taps that fill the tiles of tensor cores and
/// that do not. Operands are multiples of a sixteenth, so that kernels agree on which pixels are above 0
/// however they round.
std::vector<OpCase> sums_cases() {
  struct Case {
    Shape x, weight;
    std::vector<int64_t> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
  };
  std::vector<OpCase> cases;
  for (const Case& c :
       std::vector<Case>{{.x = {1, 1, 1, 1}, .weight = {1, 1, 1, 1}},
                         {.x = {3, 3, 8, 8}, .weight = {8, 3, 3, 3}, .padding = {1, 1}},
                         {.x = {2, 3, 32, 32}, .weight = {8, 3, 3, 3}, .padding = {1, 1}},
                         {.x = {2, 2, 7, 9}, .weight = {5, 2, 3, 2}, .stride = {2, 1}, .padding = {2, 0}},
                         {.x = {3, 1, 11, 13}, .weight = {11, 1, 5, 5}, .padding = {2, 2}},
                         {.x = {2, 1, 9, 16}, .weight = {20, 1, 2, 7}, .stride = {3, 1}, .padding = {0, 3}},
                         {.x = {2, 2, 9, 16}, .weight = {20, 2, 1, 3}, .dilation = {4, 1}},
                         {.x = {2, 2, 10, 12}, .weight = {3, 2, 2, 3}, .stride = {3, 2}, .dilation = {2, 3}},
                         {.x = {1, 30, 5, 6}, .weight = {40, 30, 2, 2}},
                         {.x = {0, 2, 5, 5}, .weight = {3, 2, 3, 3}}})
    for (bool bias : {false, true}) {
      cases.push_back({.inputs = {{DType::f32, c.x}, {DType::f32, c.weight}},
                       .attrs = {{"stride", c.stride},
                                 {"padding", c.padding},
                                 {"dilation", c.dilation},
                                 {"groups", int64_t{1}}},
                       .multiple = 0.0625});
      if (bias) cases.back().inputs.push_back({DType::f32, {c.weight[0]}});
    }
  for (size_t i : {2, 5, 7}) {  // pixels, scaled where they are read
    OpCase pixels = cases[i];
    pixels.inputs[0].dtype = DType::u8;
    pixels.attrs.set({"scale", 0.125});
    pixels.attrs.set({"program", "f32 1 | 0.5 -0.5 | mul 0 1; add 3 2 | 4"});
    cases.push_back(pixels);
  }
  return cases;
}

std::vector<OpCase> sums_dw_cases() {
  std::vector<OpCase> cases;
  for (const Shape& patches : {Shape{1, 1, 1, 1, 1}, Shape{32, 8, 3, 3, 3}, Shape{71, 5, 2, 3, 2},
                               Shape{3, 4, 60, 3, 3}, Shape{0, 3, 2, 3, 3}})
    for (bool bias : {false, true}) {
      cases.push_back({.inputs = {{DType::f32, patches},
                                  {DType::f32, {patches[0], patches[1]}},
                                  {DType::f32, {patches[0], patches[1]}}}});
      if (bias) cases.back().attrs.set({"bias", true}), cases.back().attrs.set({"scale", 0.03125});
    }
  return cases;
}

const OpDef k_conv2d_sums{
    .name = "conv2d_sums",
    .doc =
        "of y = relu(conv2d(x, weight, bias)): sums over its pixels of y, of x under each tap where y is "
        "above "
        "0, and how many those are; with attribute program x is its result, with scale the first are "
        "multiplied by it",
    .operands = {"x", "weight", "bias"},
    .shapes =
        "x [N, Ci, H, W], weight [Co, Ci, Kh, Kw], bias [Co] -> [N, Co], "
        "[N, Co, Ci, Kh, Kw], [N, Co]",
    .infer = infer_sums,
    .flops = sums_flops,
    .cases = sums_cases,
    .kernels = {{.backend = "cpu", .name = "reference", .prepare = prepare_conv2d_sums_reference},
                {.backend = "cuda",
                 .name = "tensor samples",
                 .refuse = refuse_conv2d_sums_tensor_cuda,
                 .prepare = prepare_conv2d_sums_tensor_cuda},
                {.backend = "cuda", .name = "plain", .prepare = prepare_conv2d_sums_plain_cuda}}};
const OpDef k_conv2d_sums_dw{
    .name = "conv2d_sums_dw",
    .doc =
        "gradient of conv2d's weight from what conv2d_sums gives and that of each total, the same for all "
        "pixels; with attribute bias also the bias's, with scale that gradient is multiplied by it",
    .operands = {"patches", "positive", "g"},
    .shapes = "patches [N, Co, Ci, Kh, Kw], positive [N, Co], g [N, Co] -> [Co, Ci, Kh, Kw], [Co]",
    .infer = infer_sums_dw,
    .flops = sums_dw_flops,
    .cases = sums_dw_cases,
    .kernels = {{.backend = "cpu", .name = "reference", .prepare = prepare_conv2d_sums_dw_reference},
                {.backend = "cuda", .name = "channels", .prepare = prepare_conv2d_sums_dw_cuda}}};

}  // namespace

Conv2dProblem conv2d_sums_problem(const KernelRequest& request) {
  Conv2dProblem problem = of_convolution(request, conv2d_problem);
  problem.relu = true;
  return problem;
}

std::vector<const OpDef*> conv2d_sums_ops() { return {&k_conv2d_sums, &k_conv2d_sums_dw}; }

}  // namespace wholestep
