// max_pool2d, avg_pool2d and adaptive_avg_pool2d with their gradients: inference, rules and cases. The
// gradient of an average's gradient is the average again; that of a maximum's gathers by argmax.
#include "wholestep/ops/pool2d.h"

#include <fmt/format.h>

#include <limits>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/gather.h"
#include "wholestep/ops/pool2d_cpu.h"
#include "wholestep/ops/pool2d_cuda.h"
#include "wholestep/ops/pool_windows.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/registry.h"
#include "wholestep/ops/shape.h"

namespace wholestep {
namespace {

// Attributes: kernel, stride, padding (vertical, horizontal); adaptive_avg_pool2d instead has size, that of
// its result; gradients also size, that of x. max_pool2d_dx may lack the windows: argmax says all there is to
// know, and they only say where to look for it.
Tensor max_pool2d_dx(const Tensor& g, const Tensor& argmax, const Attrs& forward, const Shape& x);
Tensor avg_pool2d_dx(const Tensor& g, const Attrs& forward, const Shape& x);
Tensor adaptive_avg_pool2d_dx(const Tensor& g, const Shape& x);
Tensor avg_pool2d_with(const Tensor& x, const Attrs& attrs);

void check_images(const TensorType& type) {
  if (!is_floating(type.dtype) || type.shape.rank() != 4 || type.shape[2] < 1 || type.shape[3] < 1)
    throw Error(ErrorCode::kUsage, {.what = "pooling needs floating-point images",
                                    .got = to_string(type),
                                    .expected = "[N, C, H, W] with at least one pixel",
                                    .hint = "reshape() flat samples first"});
}

const std::vector<int64_t>& pair_of(const Attrs& attrs, const char* name, int64_t least) {
  const auto& values = attrs.integers(name);
  if (values.size() != 2 || values[0] < least || values[1] < least)
    throw Error(ErrorCode::kUsage,
                {.what = fmt::format("{} of a pooling is out of range", name),
                 .got = to_string(Attrs{{name, values}}),
                 .expected = fmt::format("a vertical and a horizontal value, at least {}", least)});
  return values;
}

/// Result shape of sliding windows over x.
Shape pooled(const Shape& x, const Attrs& attrs) {
  const auto &kernel = pair_of(attrs, "kernel", 1), &stride = pair_of(attrs, "stride", 1),
             &padding = pair_of(attrs, "padding", 0);
  Shape out = {x[0], x[1]};
  for (size_t axis : {size_t{0}, size_t{1}}) {
    if (padding[axis] * 2 > kernel[axis])
      throw Error(ErrorCode::kUsage, {.what = "padding of a pooling is more than half its kernel",
                                      .got = std::to_string(padding[axis]),
                                      .expected = fmt::format("at most {}", kernel[axis] / 2)});
    int64_t room = x[2 + static_cast<int>(axis)] + 2 * padding[axis] - kernel[axis];
    if (room < 0)
      throw Error(ErrorCode::kUsage, {.what = "the window of a pooling is larger than its padded input",
                                      .got = fmt::format("kernel {} over {}", kernel[axis], to_string(x))});
    out.push_back(room / stride[axis] + 1);
  }
  return out;
}

void check_gradient(const TensorType& g, const Shape& out) {
  if (g.shape != out)
    throw Error(ErrorCode::kUsage, {.what = "the gradient of a pooling has another shape than its result",
                                    .got = to_string(g.shape),
                                    .expected = to_string(out)});
}

/// [N, C, size] for a gradient [N, C, Ho, Wo].
Shape input_of(const Shape& g, const Attrs& attrs) {
  const auto& size = pair_of(attrs, "size", 1);
  return {g[0], g[1], size[0], size[1]};
}

Types infer_max(std::span<const TensorType> in, const Attrs& attrs) {
  check_images(in[0]);
  Shape out = pooled(in[0].shape, attrs);
  if (in[0].shape[2] > INT32_MAX / in[0].shape[3])
    throw Error(ErrorCode::kUsage,
                {.what = "a plane has more pixels than an i32 index counts", .got = to_string(in[0].shape)});
  return {{in[0].dtype, out}, {DType::i32, out}};
}
Types infer_max_dx(std::span<const TensorType> in, const Attrs& attrs) {
  check_images(in[0]);
  if (in[1] != TensorType{DType::i32, in[0].shape})
    throw Error(ErrorCode::kUsage, {.what = "argmax of a max pooling does not fit its gradient",
                                    .got = to_string(in[1]),
                                    .expected = to_string(TensorType{DType::i32, in[0].shape})});
  return {{in[0].dtype, input_of(in[0].shape, attrs)}};
}
Types infer_avg(std::span<const TensorType> in, const Attrs& attrs) {
  check_images(in[0]);
  return {{in[0].dtype, pooled(in[0].shape, attrs)}};
}
Types infer_avg_dx(std::span<const TensorType> in, const Attrs& attrs) {
  check_images(in[0]);
  Shape x = input_of(in[0].shape, attrs);
  check_gradient(in[0], pooled(x, attrs));
  return {{in[0].dtype, x}};
}
Types infer_adaptive(std::span<const TensorType> in, const Attrs& attrs) {
  check_images(in[0]);
  return {{in[0].dtype, input_of(in[0].shape, attrs)}};
}

std::vector<Tensor> max_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {max_pool2d_dx(g[0], r.outputs[1], r.attrs, r.inputs[0].shape())};
}
/// Element o of a plane went to argmax[o], so its gradient is read there.
std::vector<Tensor> max_dx_vjp(const OpRecord& r, std::span<const Tensor> gs) {
  const Tensor &argmax = r.inputs[1], &h = gs[0];
  int64_t planes = h.dim(0) * h.dim(1), pixels = h.dim(2) * h.dim(3);
  std::vector<int64_t> starts;
  for (int64_t plane = 0; plane < planes; ++plane) starts.push_back(plane * pixels);
  Tensor index = cast(argmax, DType::i64) + tensor(starts, {h.dim(0), h.dim(1), 1, 1});
  Tensor read = gather_rows(reshape(h, {h.numel()}), reshape(index, {argmax.numel()}));
  return {reshape(read, argmax.shape()), Tensor()};
}
std::vector<Tensor> avg_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {avg_pool2d_dx(g[0], r.attrs, r.inputs[0].shape())};
}
std::vector<Tensor> avg_dx_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {avg_pool2d_with(g[0], r.attrs)};
}
std::vector<Tensor> adaptive_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {adaptive_avg_pool2d_dx(g[0], r.inputs[0].shape())};
}
std::vector<Tensor> adaptive_dx_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {adaptive_avg_pool2d(g[0], {r.inputs[0].dim(2), r.inputs[0].dim(3)})};
}

double window_flops(const KernelRequest& request) {
  PoolProblem p = pool_problem(request);
  double rows = 0, columns = 0;
  for (Range window : p.y.windows) rows += static_cast<double>(window.size());
  for (Range window : p.x.windows) columns += static_cast<double>(window.size());
  return static_cast<double>(p.batch * p.channels) * rows * columns;
}

struct Case {
  Shape x;
  std::vector<int64_t> kernel, stride, padding = {0, 0};
};
std::vector<Case> shapes() {
  return {{{1, 1, 1, 1}, {1, 1}, {1, 1}},          {{3, 2, 6, 8}, {2, 2}, {2, 2}},
          {{2, 3, 7, 9}, {2, 2}, {2, 2}},          {{9, 2, 5, 67}, {2, 2}, {2, 2}},
          {{2, 1, 7, 9}, {3, 2}, {2, 1}, {1, 1}},  {{5, 2, 8, 6}, {3, 3}, {1, 2}, {1, 0}},
          {{2, 2, 9, 10}, {2, 3}, {4, 5}, {0, 1}}, {{1, 3, 14, 14}, {3, 3}, {2, 2}, {1, 1}},
          {{0, 2, 4, 4}, {2, 2}, {2, 2}},          {{2, 3, 28, 28}, {2, 2}, {2, 2}},
          {{3, 1, 10, 10}, {2, 2}, {2, 2}},        {{1, 2, 4, 70}, {2, 2}, {2, 2}},
          {{5, 1, 2, 2}, {3, 3}, {2, 2}, {1, 1}},  {{2, 3, 8, 12}, {4, 4}, {4, 4}},
          {{2, 1, 10, 6}, {5, 2}, {5, 2}},         {{1, 2, 6, 9}, {3, 3}, {3, 3}}};
}
Attrs attrs_of(const Case& c) { return {{"kernel", c.kernel}, {"stride", c.stride}, {"padding", c.padding}}; }
std::vector<OpCase> forward_cases() {
  std::vector<OpCase> cases;
  for (const Case& c : shapes())
    cases.push_back({.inputs = {{DType::f32, c.x}}, .attrs = attrs_of(c), .distinct = true});
  return cases;
}
std::vector<OpCase> avg_dx_cases() {
  std::vector<OpCase> cases;
  for (const Case& c : shapes()) {
    Attrs attrs = attrs_of(c);
    Shape g = pooled(c.x, attrs);
    attrs.set({"size", std::vector<int64_t>{c.x[2], c.x[3]}});
    cases.push_back({.inputs = {{DType::f32, g}}, .attrs = attrs});
  }
  return cases;
}
std::vector<OpCase> max_dx_cases() {
  auto of = [](Shape g, std::vector<int64_t> size) {
    int64_t pixels = size[0] * size[1];
    return OpCase{
        .inputs = {{DType::f32, g}, {DType::i32, g}}, .attrs = {{"size", std::move(size)}}, .bound = pixels};
  };
  std::vector<OpCase> cases = {of({1, 1, 1, 1}, {1, 1}), of({3, 2, 4, 3}, {5, 7}), of({9, 1, 2, 33}, {4, 67}),
                               of({0, 2, 1, 1}, {2, 2})};
  struct Window {
    std::vector<int64_t> kernel, stride;
  };
  for (const Window& window : std::vector<Window>{
           {{4, 5}, {2, 3}}, {{2, 2}, {2, 2}}, {{3, 2}, {3, 2}}, {{4, 4}, {4, 4}}, {{3, 3}, {3, 3}}}) {
    cases.push_back(of({3, 2, 1, 1}, window.kernel));  // of all pixels
    for (Attr attr : {Attr("kernel", window.kernel), Attr("stride", window.stride),
                      Attr("padding", std::vector<int64_t>{0, 0})})
      cases.back().attrs.set(std::move(attr));
  }
  return cases;
}
std::vector<OpCase> adaptive_cases() {
  auto of = [](Shape x, std::vector<int64_t> size) {
    return OpCase{.inputs = {{DType::f32, x}}, .attrs = {{"size", std::move(size)}}};
  };
  return {of({2, 3, 7, 9}, {1, 1}), of({2, 3, 7, 9}, {3, 4}), of({1, 2, 3, 4}, {5, 4}),
          of({9, 1, 8, 8}, {4, 2}), of({0, 1, 3, 3}, {2, 2})};
}

#define ROW(op, text, names, shape_rule, rule, dx, types, flop, test_cases, kernel)          \
  const OpDef k_##op{.name = #op,                                                            \
                     .doc = text,                                                            \
                     .operands = names,                                                      \
                     .shapes = shape_rule,                                                   \
                     .infer = types,                                                         \
                     .vjp = rule,                                                            \
                     .gradient = dx,                                                         \
                     .flops = flop,                                                          \
                     .cases = test_cases,                                                    \
                     .kernels = {{.backend = "cpu", .name = "reference", .prepare = kernel}, \
                                 {.backend = "cuda", .name = "elements", .prepare = kernel##_cuda}}};
#define kForward "x [N, C, H, W] -> [N, C, Ho, Wo]"
#define kBackward "g [N, C, Ho, Wo] -> [N, C, H, W]"
const std::vector<std::string> kX = {"x"}, kG = {"g"}, kGArgmax = {"g", "argmax"};
ROW(max_pool2d, "largest element of every window, and its flat index in the plane", kX,
    kForward ", [N, C, Ho, Wo]", max_vjp, "dx = max_pool2d_dx(g, argmax)", infer_max, window_flops,
    forward_cases, prepare_max_pool2d)
ROW(max_pool2d_dx, "zeros of attribute size plus g at argmax", kGArgmax,
    "g [N, C, Ho, Wo], argmax [N, C, Ho, Wo] -> [N, C, H, W]", max_dx_vjp, "dg = h at argmax", infer_max_dx,
    nullptr, max_dx_cases, prepare_max_pool2d_dx)
ROW(avg_pool2d, "mean of every window, padding counted as zeros", kX, kForward, avg_vjp,
    "dx = avg_pool2d_dx(g)", infer_avg, window_flops, forward_cases, prepare_avg_pool2d)
ROW(avg_pool2d_dx, "gradient of avg_pool2d's x, of attribute size", kG, kBackward, avg_dx_vjp,
    "dg = avg_pool2d(h)", infer_avg_dx, window_flops, avg_dx_cases, prepare_avg_pool2d_dx)
ROW(adaptive_avg_pool2d,
    "means over a grid of attribute size: bins floor(i H / size) to ceil((i + 1) H / size)", kX, kForward,
    adaptive_vjp, "dx = adaptive_avg_pool2d_dx(g)", infer_adaptive, window_flops, adaptive_cases,
    prepare_avg_pool2d)
ROW(adaptive_avg_pool2d_dx, "gradient of adaptive_avg_pool2d's x, of attribute size", kG, kBackward,
    adaptive_dx_vjp, "dg = adaptive_avg_pool2d(h)", infer_adaptive, window_flops, adaptive_cases,
    prepare_avg_pool2d_dx)
#undef ROW
#undef kForward
#undef kBackward

std::vector<int64_t> size_of(const Shape& x) { return {x[2], x[3]}; }
Attrs windows_of(const Attrs& attrs) {
  return {{"kernel", attrs.integers("kernel")},
          {"stride", attrs.integers("stride")},
          {"padding", attrs.integers("padding")}};
}
Attrs windows_of(const Pool2dOptions& options) {
  auto pair = [](const std::array<int64_t, 2>& p) { return std::vector<int64_t>(p.begin(), p.end()); };
  std::array<int64_t, 2> stride = options.stride;
  for (size_t axis : {size_t{0}, size_t{1}})
    if (stride[axis] == 0) stride[axis] = options.kernel[axis];
  return {{"kernel", pair(options.kernel)}, {"stride", pair(stride)}, {"padding", pair(options.padding)}};
}

Tensor max_pool2d_dx(const Tensor& g, const Tensor& argmax, const Attrs& forward, const Shape& x) {
  Attrs attrs = windows_of(forward);
  attrs.set({"size", size_of(x)});
  return apply1(k_max_pool2d_dx, {g, argmax}, attrs);
}
Tensor avg_pool2d_dx(const Tensor& g, const Attrs& forward, const Shape& x) {
  Attrs attrs = windows_of(forward);
  attrs.set({"size", size_of(x)});
  return apply1(k_avg_pool2d_dx, {g}, attrs);
}
Tensor adaptive_avg_pool2d_dx(const Tensor& g, const Shape& x) {
  return apply1(k_adaptive_avg_pool2d_dx, {g}, {{"size", size_of(x)}});
}
Tensor avg_pool2d_with(const Tensor& x, const Attrs& attrs) {
  return apply1(k_avg_pool2d, {x}, windows_of(attrs));
}

}  // namespace

std::vector<const OpDef*> pool2d_ops() {
  return {&k_max_pool2d,    &k_max_pool2d_dx,       &k_avg_pool2d,
          &k_avg_pool2d_dx, &k_adaptive_avg_pool2d, &k_adaptive_avg_pool2d_dx};
}

MaxPool2dResult max_pool2d_with_argmax(const Tensor& x, const Pool2dOptions& options) {
  std::vector<Tensor> results = apply(k_max_pool2d, {x}, windows_of(options));
  return {results[0], results[1]};
}
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options, bool ceil_mode) {
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  return max_pool2d_with_argmax(ceil_mode ? with_ceil_border(x, options, kNothing) : x, options).y;
}
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options, bool ceil_mode, bool count_include_pad) {
  bool padded = options.padding[0] + options.padding[1] > 0;
  Tensor y = apply1(k_avg_pool2d, {ceil_mode ? with_ceil_border(x, options, 0) : x}, windows_of(options));
  if (!ceil_mode && (count_include_pad || !padded)) return y;
  return y * mean_scales(x, options, ceil_mode, count_include_pad);
}
Tensor adaptive_avg_pool2d(const Tensor& x, const std::array<int64_t, 2>& size) {
  if (x.rank() == 4 && x.dim(2) * x.dim(3) > 0 && size == std::array<int64_t, 2>{1, 1})
    return mean(x, {2, 3}, true);
  return apply1(k_adaptive_avg_pool2d, {x}, {{"size", std::vector<int64_t>(size.begin(), size.end())}});
}

}  // namespace wholestep
