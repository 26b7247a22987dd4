// conv2d_strips: row and cases. Attributes are those of conv2d and: strips, into how many each sample's rows
// are cut; rows, where the strips themselves are a result, [first, count] of the rows made, counted from a
// strip's own; x_rows, where x is such strips, [first, height of the sample].
#include "wholestep/ops/conv2d_strips.h"

#include <fmt/format.h>

#include "wholestep/ops/pixel_program.h"
#include "wholestep/ops/registry.h"

namespace wholestep {
namespace {

/// Operands of the convolution over whole samples.
Types convolved(std::span<const TensorType> in, const Attrs& attrs) {
  Types operands = behind_program(in, attrs);
  const Shape& x = in[0].shape;
  if (attrs.has("x_rows") && x.rank() == 4)
    operands[0].shape = {x[0] / attrs.integer("strips"), x[1], attrs.integers("x_rows")[1], x[3]};
  return operands;
}

Types infer(std::span<const TensorType> in, const Attrs& attrs) {
  const int64_t strips = attrs.integer("strips");
  auto refuse = [&](const char* what, const std::string& got, const char* expected) {
    throw Error(ErrorCode::kUsage, {.what = what, .got = got, .expected = expected});
  };
  if (attrs.integer("groups") != 1)
    refuse("strips of a convolution take one group", std::to_string(attrs.integer("groups")), "1");
  if (strips < 1 || (attrs.has("x_rows") && in[0].shape.rank() == 4 && in[0].shape[0] % strips != 0))
    refuse("strips do not fit the samples of a convolution",
           fmt::format("{} strips, x {}", strips, to_string(in[0])), "at least 1, as many of each sample");
  const TensorType y = find_op("conv2d").infer(convolved(in, attrs), attrs)[0];
  const Shape& shape = y.shape;
  if (shape[2] % strips != 0)
    refuse("strips of a convolution have different heights",
           fmt::format("{} strips of {} rows", strips, shape[2]), "a divisor of the rows");
  Types results = {y};
  if (attrs.has("rows")) {
    const int64_t first = attrs.integers("rows")[0], count = attrs.integers("rows")[1];
    if (first > 0 || first + count < shape[2] / strips)
      refuse("a strip of a convolution is without rows of its own",
             fmt::format("{} rows from {} on", count, first), "the strip's own and some around them");
    results.push_back({y.dtype, {shape[0] * strips, shape[1], count, shape[3]}});
  }
  if (attrs.has("x_rows")) {
    const int64_t height = attrs.integers("x_rows")[1], stride = attrs.integers("stride")[0];
    if (height % strips != 0 || height / strips != shape[2] / strips * stride)
      refuse("strips of a convolution do not begin where those of its input do",
             fmt::format("{} rows of x, {} of the result, stride {}", height, shape[2], stride),
             "x as high as the result times the stride");
  }
  return results;
}

double strips_flops(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_strips(request).problem;
  return static_cast<double>(p.batch) * conv2d_sample_flops(p.conv);
}

/// One strip a sample and several, with rows around them and without, over samples and over strips, whose
/// rows may begin before what they are read from.
std::vector<OpCase> cases() {
  struct Case {
    Shape x, weight;
    int64_t strips;
    std::vector<int64_t> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1}, rows = {}, x_rows = {};
  };
  std::vector<OpCase> cases;
  for (const Case& c : std::vector<Case>{
           {.x = {1, 1, 1, 1}, .weight = {1, 1, 1, 1}, .strips = 1, .rows = {0, 1}},
           {.x = {2, 3, 16, 16},
           .weight = {8, 3, 3, 3},
           .strips = 4,
           .stride = {2, 2},
           .padding = {1, 1},
           .rows = {-1, 4}},
           {.x = {2, 3, 16, 16}, .weight = {8, 3, 3, 3}, .strips = 2, .stride = {2, 2}, .padding = {1, 1}},
           {.x = {8, 8, 5, 8},
           .weight = {16, 8, 3, 3},
           .strips = 4,
           .stride = {2, 2},
           .padding = {1, 1},
           .rows = {-1, 2},
           .x_rows = {-3, 8}},
           {.x = {8, 8, 4, 9},
           .weight = {11, 8, 3, 3},
           .strips = 4,
           .stride = {2, 2},
           .padding = {1, 1},
           .x_rows = {-1, 8}},
           {.x = {3, 2, 12, 7}, .weight = {5, 2, 5, 3}, .strips = 3, .padding = {2, 0}, .rows = {-2, 8}},
           {.x = {6, 5, 8, 11}, .weight = {20, 5, 5, 5}, .strips = 2, .padding = {2, 2}, .x_rows = {-2, 8}},
           {.x = {2, 2, 12, 16},
           .weight = {3, 2, 2, 3},
           .strips = 2,
           .stride = {1, 3},
           .padding = {1, 2},
           .dilation = {2, 1},
           .rows = {-1, 9}},
           {.x = {2, 24, 8, 8}, .weight = {40, 24, 3, 3}, .strips = 4, .padding = {1, 1}},
           {.x = {0, 2, 4, 5}, .weight = {3, 2, 3, 3}, .strips = 2, .padding = {1, 1}, .rows = {0, 2}}})
    for (bool bias : {false, true}) {
      OpCase of{.inputs = {{DType::f32, c.x}, {DType::f32, c.weight}},
                .attrs = {{"stride", c.stride},
                          {"padding", c.padding},
                          {"dilation", c.dilation},
                          {"groups", int64_t{1}},
                          {"strips", c.strips}},
                .distinct = bias};
      if (bias) of.inputs.push_back({DType::f32, {c.weight[0]}}), of.attrs.set({"activation", "relu"});
      if (!c.rows.empty()) of.attrs.set({"rows", c.rows});
      if (!c.x_rows.empty()) of.attrs.set({"x_rows", c.x_rows});
      cases.push_back(of);
    }
  for (size_t i : {3, 10}) {  // pixels, scaled where they are read
    OpCase pixels = cases[i];
    pixels.inputs[0].dtype = DType::u8;
    pixels.attrs.set({"program", "f32 1 | 0.5 -0.5 | mul 0 1; add 3 2 | 4"});
    cases.push_back(pixels);
  }
  return cases;
}

const OpDef k_conv2d_strips{
    .name = "conv2d_strips",
    .doc =
        "conv2d made in strips of rows; with attribute rows also those, each with so many rows before and "
        "after its own, 0 outside of the sample; with x_rows x is such strips, with program x is its result",
    .operands = {"x", "weight", "bias"},
    .shapes = "x [P, Ci, H, W], weight [Co, Ci, Kh, Kw], bias [Co] -> [N, Co, Ho, Wo], [S, Co, count, Wo]",
    .infer = infer,
    .flops = strips_flops,
    .cases = cases,
    .kernels = {{.backend = "cpu", .name = "reference", .prepare = prepare_conv2d_strips_reference},
                {.backend = "cuda",
                 .name = "tensor strips",
                 .refuse = refuse_conv2d_strips_tensor_cuda,
                 .prepare = prepare_conv2d_strips_tensor_cuda},
                {.backend = "cuda", .name = "plain", .prepare = prepare_conv2d_strips_plain_cuda}}};

}  // namespace

Conv2dStrips conv2d_strips(const KernelRequest& request) {
  const Types operands = convolved(request.inputs, request.attrs);
  const TensorType y = find_op("conv2d").infer(operands, request.attrs)[0];
  Conv2dStrips s{.problem = conv2d_problem({"conv2d", operands, std::span(&y, 1), request.attrs}),
                 .samples = y.shape[0],
                 .strips = request.attrs.integer("strips"),
                 .rows = y.shape[2] / request.attrs.integer("strips"),
                 .first = 0,
                 .whole = !request.attrs.has("x_rows"),
                 .kept = request.attrs.has("rows"),
                 .x_step = 0,
                 .x_first = 0};
  ConvAxis& axis = s.problem.conv.y;
  s.problem.batch = s.samples * s.strips;
  axis.in = request.inputs[0].shape[2];
  axis.out = s.rows;
  if (s.kept) s.first = request.attrs.integers("rows")[0], axis.out = request.attrs.integers("rows")[1];
  s.x_first = s.first * axis.stride - axis.padding;
  if (s.whole) s.x_step = s.rows * axis.stride;
  else s.x_first -= request.attrs.integers("x_rows")[0];
  return s;
}

std::vector<const OpDef*> conv2d_strips_ops() { return {&k_conv2d_strips}; }

}  // namespace wholestep
