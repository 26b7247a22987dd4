// conv2d, conv2d_dx and conv2d_dw: inference, gradients and the cases of their tests. The three are one
// trilinear form, sum of w x g, so the gradient of each is made of the other two and derivatives of any order
// compose.
#include "wholestep/ops/conv2d.h"

#include <fmt/format.h>

#include "wholestep/ops/conv2d_cpu.h"
#include "wholestep/ops/conv2d_cuda.h"
#include "wholestep/ops/conv2d_gradient_strips.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/epilogue.h"
#include "wholestep/ops/pixel_program.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/registry.h"
#include "wholestep/ops/shape.h"

namespace wholestep {
namespace {

// Attributes: stride, padding, dilation (vertical, horizontal), groups; conv2d_dx also size, the extents of
// x; conv2d_dw also kernel, those of the weight, and bias where the bias's gradient, the sum of g, is its
// second result: who reads g for the one sums it for the other. A compiled step may have x scaled where it is
// read, ops/pixel_program.h.
Tensor conv2d_dx(const Tensor& g, const Tensor& weight, const Attrs& attrs, const Shape& x);
Tensor conv2d_dw(const Tensor& x, const Tensor& g, const Attrs& attrs, const Shape& weight);

void check_attrs(const Attrs& attrs) {
  auto check = [&](const char* name, int64_t least) {
    const auto& values = attrs.integers(name);
    if (values.size() != 2 || values[0] < least || values[1] < least)
      throw Error(ErrorCode::kUsage,
                  {.what = fmt::format("{} of a convolution is out of range", name),
                   .got = to_string(Attrs{{name, values}}),
                   .expected = fmt::format("a vertical and a horizontal value, at least {}", least)});
  };
  check("stride", 1);
  check("padding", 0);
  check("dilation", 1);
  if (attrs.integer("groups") < 1)
    throw Error(ErrorCode::kUsage, {.what = "groups of a convolution is out of range",
                                    .got = std::to_string(attrs.integer("groups")),
                                    .expected = "at least 1"});
}

void check_images(const TensorType& type, const char* name) {
  if (!is_floating(type.dtype) || type.shape.rank() != 4 || type.shape[1] < 1 || type.shape[2] < 1 ||
      type.shape[3] < 1)
    throw Error(ErrorCode::kUsage,
                {.what = fmt::format("{} of a convolution must be floating-point images", name),
                 .got = to_string(type),
                 .expected = "[N, C, H, W] with at least one channel and pixel",
                 .hint = "reshape() flat samples first"});
}

/// Output extent of one axis (0 vertical, 1 horizontal); below 1 where the kernel does not fit.
int64_t output_extent(int64_t in, int64_t kernel, const Attrs& attrs, size_t axis) {
  int64_t room =
      in + 2 * attrs.integers("padding")[axis] - attrs.integers("dilation")[axis] * (kernel - 1) - 1;
  return room < 0 ? 0 : room / attrs.integers("stride")[axis] + 1;
}

/// [N, Co, Ho, Wo] of x [N, Ci, H, W] and weight [Co, Ci / groups, Kh, Kw], both checked.
Shape output_shape(const Shape& x, const Shape& weight, const Attrs& attrs) {
  int64_t groups = attrs.integer("groups");
  if (weight.rank() != 4 || weight[0] < 1 || weight[2] < 1 || weight[3] < 1)
    throw Error(ErrorCode::kUsage, {.what = "the weight of a convolution has four axes",
                                    .got = to_string(weight),
                                    .expected = "[Co, Ci / groups, Kh, Kw]"});
  if (x[1] % groups != 0 || weight[0] % groups != 0)
    throw Error(ErrorCode::kUsage,
                {.what = "groups does not divide the channels of a convolution",
                 .got = fmt::format("{} groups, {} input and {} output channels", groups, x[1], weight[0])});
  if (weight[1] != x[1] / groups)
    throw Error(ErrorCode::kUsage,
                {.what = "the input of a convolution has another number of channels than its weight",
                 .got = fmt::format("{} channels", x[1]),
                 .expected = fmt::format("{} for weight {}", weight[1] * groups, to_string(weight))});
  Shape out = {x[0], weight[0]};
  for (int axis : {0, 1}) {
    int64_t extent = output_extent(x[2 + axis], weight[2 + axis], attrs, static_cast<size_t>(axis));
    if (extent < 1)
      throw Error(ErrorCode::kUsage,
                  {.what = "the kernel of a convolution is larger than its padded input",
                   .got = fmt::format("kernel {} over input {}", to_string(weight), to_string(x)),
                   .hint = "larger input, smaller kernel or dilation, or more padding"});
    out.push_back(extent);
  }
  return out;
}

void check_same_dtype(const TensorType& a, const TensorType& b) {
  if (a.dtype != b.dtype)
    throw Error(ErrorCode::kUsage, {.what = "operands of a convolution have different dtypes",
                                    .got = to_string(a) + " and " + to_string(b),
                                    .hint = "cast() one"});
}

Types infer_conv2d(std::span<const TensorType> operands, const Attrs& attrs) {
  const Types in = behind_program(operands, attrs);
  check_attrs(attrs);
  check_images(in[0], "x");
  check_same_dtype(in[0], in[1]);
  Shape out = output_shape(in[0].shape, in[1].shape, attrs);
  if (in.size() == 3 && in[2] != TensorType{in[0].dtype, {out[1]}})
    throw Error(ErrorCode::kUsage, {.what = "the bias of a convolution has one element an output channel",
                                    .got = to_string(in[2]),
                                    .expected = to_string(TensorType{in[0].dtype, {out[1]}})});
  return {{in[0].dtype, out}};
}

/// The gradient must have the shape the forward op gives.
void check_gradient(const Shape& g, const Shape& x, const Shape& weight, const Attrs& attrs) {
  if (Shape out = output_shape(x, weight, attrs); g != out)
    throw Error(ErrorCode::kUsage, {.what = "the gradient of a convolution has another shape than its result",
                                    .got = to_string(g),
                                    .expected = to_string(out)});
}

/// (g [N, Co, Ho, Wo], weight, relu as large as dx) -> dx [N, Ci, size].
Types infer_conv2d_dx(std::span<const TensorType> in, const Attrs& attrs) {
  check_attrs(attrs);
  check_images(in[0], "g");
  check_same_dtype(in[0], in[1]);
  if (in[1].shape.rank() != 4 || in[1].shape[1] < 1)
    throw Error(ErrorCode::kUsage, {.what = "the weight of a convolution has four axes",
                                    .got = to_string(in[1].shape),
                                    .expected = "[Co, Ci / groups, Kh, Kw]"});
  Shape x = {in[0].shape[0], in[1].shape[1] * attrs.integer("groups"), attrs.integers("size")[0],
             attrs.integers("size")[1]};
  check_gradient(in[0].shape, x, in[1].shape, attrs);
  check_mask(in, attrs, {in[0].dtype, x});
  return {{in[0].dtype, x}};
}

/// (x, g [N, Co, Ho, Wo]) -> dweight [Co, Ci / groups, kernel], and dbias [Co].
Types infer_conv2d_dw(std::span<const TensorType> operands, const Attrs& attrs) {
  const Types in = behind_program(operands, attrs);
  check_attrs(attrs);
  check_images(in[0], "x");
  check_images(in[1], "g");
  check_same_dtype(in[0], in[1]);
  Shape weight = {in[1].shape[1], in[0].shape[1] / attrs.integer("groups"), attrs.integers("kernel")[0],
                  attrs.integers("kernel")[1]};
  check_gradient(in[1].shape, in[0].shape, weight, attrs);
  Types types = {{in[0].dtype, weight}};
  if (attrs.has("bias")) types.push_back({in[0].dtype, {weight[0]}});
  return types;
}

Tensor conv2d_with(const Tensor& x, const Tensor& weight, const Attrs& attrs);
/// Of the weight, and with `bias` of the bias.
std::vector<Tensor> conv2d_gradients(const Tensor& x, const Tensor& g, const Attrs& attrs,
                                     const Shape& weight, bool bias);

std::vector<Tensor> conv2d_vjp(const OpRecord& r, std::span<const Tensor> gs) {
  std::vector<Tensor> grads(r.inputs.size());
  const Tensor g = before_activation(r, gs[0]);
  if (r.needs_grad[0]) grads[0] = conv2d_dx(g, r.inputs[1], r.attrs, r.inputs[0].shape());
  const bool bias = grads.size() == 3 && r.needs_grad[2];
  if (r.needs_grad[1])
    std::ranges::copy(conv2d_gradients(r.inputs[0], g, r.attrs, r.inputs[1].shape(), bias),
                      grads.begin() + 1);
  else if (bias) grads[2] = sum(g, {0, 2, 3});
  return grads;
}
std::vector<Tensor> conv2d_dx_vjp(const OpRecord& r, std::span<const Tensor> gs) {
  const Tensor &g = r.inputs[0], &weight = r.inputs[1], h = before_activation(r, gs[0]);
  std::vector<Tensor> grads(r.inputs.size());
  if (r.needs_grad[0]) grads[0] = conv2d_with(h, weight, r.attrs);
  if (r.needs_grad[1]) grads[1] = conv2d_dw(h, g, r.attrs, weight.shape());
  return grads;
}
std::vector<Tensor> conv2d_dw_vjp(const OpRecord& r, std::span<const Tensor> gs) {
  const Tensor &x = r.inputs[0], &g = r.inputs[1];
  std::vector<Tensor> grads(2);
  if (const Tensor& h = gs[0]; h.defined()) {
    if (r.needs_grad[0]) grads[0] = conv2d_dx(g, h, r.attrs, x.shape());
    if (r.needs_grad[1]) grads[1] = conv2d_with(x, h, r.attrs);
  }
  if (gs.size() == 2 && gs[1].defined() && r.needs_grad[1]) {
    Tensor of_bias = expand(reshape(gs[1], {1, g.shape()[1], 1, 1}), g.shape());
    grads[1] = grads[1].defined() ? grads[1] + of_bias : of_bias;
  }
  return grads;
}

// Awkward on purpose: sides that differ, kernels that leave columns over, padding beyond the kernel's reach,
// batches of one and none, groups down to depthwise.
struct Case {
  Shape x, weight;
  std::vector<int64_t> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
  int64_t groups = 1;
};
std::vector<Case> shapes() {
  return {
      {.x = {1, 1, 1, 1}, .weight = {1, 1, 1, 1}},
      {.x = {2, 3, 7, 9}, .weight = {5, 3, 3, 3}, .stride = {2, 2}, .padding = {1, 1}},
      {.x = {3, 2, 6, 5}, .weight = {4, 2, 2, 3}, .stride = {2, 1}, .padding = {0, 2}},
      {.x = {1, 4, 9, 8}, .weight = {6, 2, 3, 1}, .stride = {1, 3}, .dilation = {2, 1}, .groups = 2},
      {.x = {5, 6, 5, 7}, .weight = {6, 1, 3, 3}, .padding = {1, 1}, .groups = 6},
      {.x = {2, 3, 4, 4}, .weight = {2, 3, 1, 1}},
      {.x = {9, 1, 28, 28}, .weight = {6, 1, 5, 5}, .padding = {2, 2}},
      {.x = {11, 6, 14, 14}, .weight = {16, 6, 5, 5}},
      {.x = {9, 64, 3, 2}, .weight = {64, 64, 3, 1}, .stride = {2, 1}, .padding = {1, 0}},
      {.x = {3, 17, 10, 11}, .weight = {33, 17, 3, 3}, .padding = {1, 1}},
      {.x = {2, 3, 12, 10}, .weight = {4, 3, 3, 3}, .stride = {3, 2}, .padding = {3, 4}, .dilation = {2, 3}},
      {.x = {2, 12, 21, 36}, .weight = {20, 12, 3, 3}, .padding = {1, 1}},
      {.x = {3, 5, 13, 18}, .weight = {34, 5, 1, 2}, .padding = {2, 0}, .dilation = {1, 3}},
      {.x = {1, 1, 3, 1096}, .weight = {2, 1, 2, 3}, .padding = {1, 1}},
      {.x = {140, 1, 9, 64}, .weight = {2, 1, 3, 3}, .padding = {1, 1}},
      {.x = {100, 2, 3, 130}, .weight = {3, 2, 2, 3}, .padding = {1, 0}},
      {.x = {45, 1, 12, 12}, .weight = {9, 1, 3, 3}, .padding = {1, 1}},
      {.x = {43, 9, 6, 4}, .weight = {18, 9, 3, 3}, .padding = {1, 1}},
      {.x = {0, 2, 5, 5}, .weight = {3, 2, 3, 3}}};
}
Attrs attrs_of(const Case& c) {
  return {{"stride", c.stride}, {"padding", c.padding}, {"dilation", c.dilation}, {"groups", c.groups}};
}
std::vector<OpCase> conv2d_cases() {
  std::vector<OpCase> cases;
  for (const Case& c : shapes()) {
    cases.push_back({.inputs = {{DType::f32, c.x}, {DType::f32, c.weight}}, .attrs = attrs_of(c)});
    cases.push_back(cases.back());
    cases.back().inputs.push_back({DType::f32, {c.weight[0]}});
  }
  cases.push_back(cases[3]);  // the fused activation, with a bias
  cases.back().attrs.set({"activation", "relu"});
  return cases;
}
std::vector<OpCase> conv2d_dx_cases() {
  std::vector<OpCase> cases;
  for (const Case& c : shapes()) {
    Attrs attrs = attrs_of(c);
    Shape y = output_shape(c.x, c.weight, attrs);
    attrs.set({"size", std::vector<int64_t>{c.x[2], c.x[3]}});
    cases.push_back({.inputs = {{DType::f32, y}, {DType::f32, c.weight}}, .attrs = attrs});
    cases.push_back(cases.back());
    cases.back().inputs.push_back({DType::f32, c.x});
    cases.back().attrs.set({"activation", "relu_dx"});
    cases.back().distinct = true;
  }
  return cases;
}
std::vector<OpCase> conv2d_dw_cases() {
  std::vector<OpCase> cases;
  for (const Case& c : shapes()) {
    Attrs attrs = attrs_of(c);
    Shape y = output_shape(c.x, c.weight, attrs);
    attrs.set({"kernel", std::vector<int64_t>{c.weight[2], c.weight[3]}});
    cases.push_back({.inputs = {{DType::f32, c.x}, {DType::f32, y}}, .attrs = attrs});
    cases.push_back(cases.back());
    cases.back().attrs.set({"bias", true});
  }
  return cases;
}

/// The kernels of each of the three, which differ in the functions named.
std::vector<Kernel> kernels(decltype(Kernel::prepare) bf16, decltype(Kernel::prepare) onednn,
                            decltype(Kernel::prepare) direct, decltype(Kernel::prepare) reference,
                            decltype(Kernel::refuse) refuse_samples, decltype(Kernel::prepare) samples) {
  return {
      {.backend = "cpu", .name = "bf16", .refuse = refuse_conv2d_bf16, .prepare = bf16},
      {.backend = "cpu", .name = "onednn", .refuse = refuse_conv2d_onednn, .prepare = onednn},
      {.backend = "cpu", .name = "direct", .refuse = refuse_conv2d_direct, .prepare = direct},
      {.backend = "cpu", .name = "reference", .refuse = refuse_program, .prepare = reference},
      {.backend = "cuda",
       .name = "cuDNN",
       .refuse = refuse_conv2d_cudnn_cuda,
       .prepare = prepare_conv2d_cudnn_cuda},
      {.backend = "cuda",
       .name = "cuBLASLt",
       .refuse = refuse_conv2d_products_cuda,
       .prepare = prepare_conv2d_products_cuda},
      {.backend = "cuda",
       .name = "tensor samples",
       .refuse = refuse_conv2d_tensor_samples_cuda,
       .prepare = prepare_conv2d_tensor_samples_cuda},
      {.backend = "cuda", .name = "samples", .refuse = refuse_samples, .prepare = samples},
      {.backend = "cuda",
       .name = "tensor shifted",
       .refuse = refuse_conv2d_shifted_cuda,
       .prepare = prepare_conv2d_shifted_cuda},
      {.backend = "cuda",
       .name = "tensor",
       .refuse = refuse_conv2d_tensor_cuda,
       .prepare = prepare_conv2d_tensor_cuda},
      {.backend = "cuda", .name = "plain", .refuse = refuse_program, .prepare = prepare_conv2d_plain_cuda}};
}

const OpDef k_conv2d{
    .name = "conv2d",
    .doc =
        "cross-correlation of x with weight, plus bias; activation relu clips at 0; with attribute program, "
        "which compile/pixels.cpp gives it, x is its result",
    .operands = {"x", "weight", "bias"},
    .shapes = "x [N, Ci, H, W], weight [Co, Ci / groups, Kh, Kw], bias [Co] -> [N, Co, Ho, Wo]",
    .infer = infer_conv2d,
    .vjp = conv2d_vjp,
    .gradient = "dx = conv2d_dx(g, weight), (dweight, dbias) = conv2d_dw(x, g)",
    .flops = conv2d_flops,
    .cases = conv2d_cases,
    .kernels = kernels(prepare_conv2d_bf16, prepare_conv2d_onednn, prepare_conv2d_direct,
                       prepare_conv2d_reference, refuse_conv2d_samples_cuda, prepare_conv2d_samples_cuda)};
const OpDef k_conv2d_dx{
    .name = "conv2d_dx",
    .doc =
        "gradient of conv2d's x, of attribute size, from that of its result; activation "
        "relu_dx makes it 0 where relu is not above 0",
    .operands = {"g", "weight", "relu"},
    .shapes = "g [N, Co, Ho, Wo], weight [Co, Ci / groups, Kh, Kw], relu [N, Ci, H, W] -> [N, Ci, H, W]",
    .infer = infer_conv2d_dx,
    .vjp = conv2d_dx_vjp,
    .gradient =
        "dg = conv2d(h, weight), dweight = conv2d_dw(h, g), drelu = none; under relu_dx h is 0 where relu is "
        "not above 0",
    .flops = conv2d_flops,
    .cases = conv2d_dx_cases,
    .kernels =
        kernels(prepare_conv2d_dx_bf16, prepare_conv2d_dx_onednn, prepare_conv2d_dx_direct,
                prepare_conv2d_dx_reference, refuse_conv2d_dx_samples_cuda, prepare_conv2d_dx_samples_cuda)};
const OpDef k_conv2d_dw{.name = "conv2d_dw",
                        .doc =
                            "gradient of conv2d's weight, of attribute kernel, from that of its result; with "
                            "attribute bias also the bias's, with program x is its result",
                        .operands = {"x", "g"},
                        .shapes = "x [N, Ci, H, W], g [N, Co, Ho, Wo] -> [Co, Ci / groups, Kh, Kw], [Co]",
                        .infer = infer_conv2d_dw,
                        .vjp = conv2d_dw_vjp,
                        .gradient = "dx = conv2d_dx(g, h), dg = conv2d(x, h) + h1",
                        .flops = conv2d_flops,
                        .cases = conv2d_dw_cases,
                        .kernels = kernels(prepare_conv2d_dw_bf16, prepare_conv2d_dw_onednn,
                                           prepare_conv2d_dw_direct, prepare_conv2d_dw_reference,
                                           refuse_conv2d_dw_samples_cuda, prepare_conv2d_dw_samples_cuda)};

/// The attributes of the forward op without what only another of the three has.
Attrs geometry(const Attrs& attrs) {
  return {{"stride", attrs.integers("stride")},
          {"padding", attrs.integers("padding")},
          {"dilation", attrs.integers("dilation")},
          {"groups", attrs.integer("groups")}};
}
Tensor conv2d_with(const Tensor& x, const Tensor& weight, const Attrs& attrs) {
  return apply1(k_conv2d, {x, weight}, geometry(attrs));
}
Tensor conv2d_dx(const Tensor& g, const Tensor& weight, const Attrs& attrs, const Shape& x) {
  Attrs own = geometry(attrs);
  own.set({"size", std::vector<int64_t>{x[2], x[3]}});
  return apply1(k_conv2d_dx, {g, weight}, own);
}
std::vector<Tensor> conv2d_gradients(const Tensor& x, const Tensor& g, const Attrs& attrs,
                                     const Shape& weight, bool bias) {
  Attrs own = geometry(attrs);
  own.set({"kernel", std::vector<int64_t>{weight[2], weight[3]}});
  if (bias) own.set({"bias", true});
  return apply(k_conv2d_dw, {x, g}, own);
}
Tensor conv2d_dw(const Tensor& x, const Tensor& g, const Attrs& attrs, const Shape& weight) {
  return conv2d_gradients(x, g, attrs, weight, false)[0];
}

}  // namespace

Conv2dProblem conv2d_problem(const KernelRequest& request) {
  const bool dx = request.op.starts_with("conv2d_dx"), dw = request.op.starts_with("conv2d_dw");
  const int64_t strips = (dx || dw) && request.attrs.has("strips") ? request.attrs.integer("strips") : 1;
  const Shape x = joined_strips((dx ? request.outputs[0] : request.inputs[0]).shape, dx ? strips : 1);
  const Shape& weight = (dw ? request.outputs[0] : request.inputs[1]).shape;
  const TensorType& result = dx ? request.inputs[0] : dw ? request.inputs[1] : request.outputs[0];
  const Shape y = joined_strips(result.shape, dw ? strips : 1);
  auto axis = [&](int i) {
    size_t at = static_cast<size_t>(i);
    return ConvAxis{.in = x[2 + i],
                    .out = y[2 + i],
                    .kernel = weight[2 + i],
                    .stride = request.attrs.integers("stride")[at],
                    .padding = request.attrs.integers("padding")[at],
                    .dilation = request.attrs.integers("dilation")[at]};
  };
  return {.batch = x[0],
          .conv = {.in_channels = x[1],
                   .out_channels = y[1],
                   .groups = request.attrs.integer("groups"),
                   .y = axis(0),
                   .x = axis(1)},
          .bias = dw ? request.attrs.has("bias") : !dx && request.inputs.size() == 3,
          .masked = masks(request.attrs),
          .relu = clips(request.attrs),
          .strips = strips};
}

double conv2d_flops(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_problem(request);
  return static_cast<double>(p.batch) * conv2d_sample_flops(p.conv);
}

std::vector<const OpDef*> conv2d_ops() { return {&k_conv2d, &k_conv2d_dx, &k_conv2d_dw}; }

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options) {
  std::vector<Tensor> operands = {x, weight};
  if (bias.defined()) operands.push_back(bias);
  auto pair = [](const std::array<int64_t, 2>& p) { return std::vector<int64_t>(p.begin(), p.end()); };
  return apply1(k_conv2d, operands,
                {{"stride", pair(options.stride)},
                 {"padding", pair(options.padding)},
                 {"dilation", pair(options.dilation)},
                 {"groups", options.groups}});
}

}  // namespace wholestep
