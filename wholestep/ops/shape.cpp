// reshape, permute, expand, slice, pad, concat. Reshaping copies nothing in a compiled plan: the result lies
// over its operand.
#include "wholestep/ops/shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/registry.h"
#include "wholestep/ops/shape_cuda.h"

namespace wholestep {
namespace {

std::vector<int64_t> list(const Shape& shape) { return {shape.begin(), shape.end()}; }

/// Calls fn with a zero as wide as the elements.
template <class Fn>
void with_element_of(int64_t bytes, Fn fn) {
  if (bytes == 1) fn(uint8_t{});
  else if (bytes == 2) fn(uint16_t{});
  else if (bytes == 4) fn(uint32_t{});
  else fn(uint64_t{});
}

using Strides = std::array<int64_t, Shape::kMaxRank>;

/// Rows [range) of y [out] from x, whose axis `near`, not y's last, has stride 1: tiles of both axes, so that
/// what a line of memory holds is used while it is in the cache.
template <class T>
void copy_turned(const T* x, T* y, const Shape& out, const Strides& strides, int near, Range rows) {
  constexpr int64_t kTile = 64 / sizeof(T);
  const Strides to = out.strides();
  const int last = out.rank() - 1;
  auto begin = [&](int axis) { return axis == 0 ? rows.begin : 0; };
  auto end = [&](int axis) { return axis == 0 ? rows.end : out[axis]; };
  auto stride = [&](int axis) { return strides[static_cast<size_t>(axis)]; };
  auto copy_planes = [&](auto& self, int axis, const T* from, T* into) -> void {
    if (axis == near) ++axis;
    if (axis < last) {
      for (int64_t i = begin(axis); i < end(axis); ++i)
        self(self, axis + 1, from + i * stride(axis), into + i * to[static_cast<size_t>(axis)]);
      return;
    }
    const int64_t step = stride(last), row = to[static_cast<size_t>(near)];
    for (int64_t i = begin(near); i < end(near); i += kTile)
      for (int64_t k = 0; k < out[last]; k += kTile)
        for (int64_t u = i; u < std::min(i + kTile, end(near)); ++u)
          for (int64_t v = k; v < std::min(k + kTile, out[last]); ++v) into[u * row + v] = from[u + v * step];
  };
  copy_planes(copy_planes, 0, x, y);
}

/// A row-split copy that gathers: element i of the result is element source(i) of operand 0.
std::unique_ptr<PreparedKernel> strided_copy(const KernelRequest& q, Shape out, Strides strides,
                                             int64_t offset, bool rows_match) {
  int64_t rows = out.rank() > 0 ? out[0] : 1, per_row = rows > 0 ? out.numel() / rows : 0;
  int64_t element = size_bytes(q.inputs[0].dtype);
  int near = -1;
  for (int axis = 0; axis + 1 < out.rank(); ++axis)
    if (strides[static_cast<size_t>(axis)] == 1 && out[axis] > 1) near = axis;
  if (near >= 0 && strides[static_cast<size_t>(out.rank() - 1)] != 1)
    return row_call(rows, rows_match ? 1 : 0, 1, [=](const CpuArgs& args, Range range) {
      with_element_of(element, [&](auto zero) {
        using T = decltype(zero);
        copy_turned(args.in<T>(0) + offset, args.out<T>(0), out, strides, near, range);
      });
    });
  auto copy_range = [=](const CpuArgs& args, Range range) {
    int rank = out.rank();
    int64_t inner = rank > 0 ? out[rank - 1] : 1,
            inner_stride = rank > 0 ? strides[static_cast<size_t>(rank - 1)] : 1;
    int64_t end = range.end * per_row;
    for (int64_t i = range.begin * per_row, run = 0; i < end; i += run) {
      run = std::min(inner - i % inner, end - i);
      int64_t from = offset + i % inner * inner_stride, rest = i / inner;
      for (int axis = rank - 2; axis >= 0; rest /= out[axis], --axis)
        from += rest % out[axis] * strides[static_cast<size_t>(axis)];
      with_element_of(element, [&](auto zero) {
        using T = decltype(zero);
        const T* x = args.in<T>(0) + from;
        T* y = args.out<T>(0) + i;
        if (inner_stride == 1) std::memcpy(y, x, static_cast<size_t>(run) * sizeof(T));
        else
          for (int64_t k = 0; k < run; ++k) y[k] = x[k * inner_stride];
      });
    }
  };
  return row_call(rows, rows_match ? 1 : 0, 1, copy_range);
}

// reshape
Types infer_reshape(std::span<const TensorType> in, const Attrs& attrs) {
  Shape shape(attrs.integers("shape"));
  if (shape.numel() != in[0].shape.numel())
    throw Error(ErrorCode::kUsage, {.what = "reshape changes the number of elements",
                                    .got = to_string(in[0].shape) + " to " + to_string(shape)});
  return {{in[0].dtype, shape}};
}
std::vector<Tensor> reshape_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {reshape(g[0], r.inputs[0].shape())};
}
std::unique_ptr<PreparedKernel> prepare_reshape(const KernelRequest& q) {
  const Shape &in = q.inputs[0].shape, &out = q.outputs[0].shape;
  int64_t rows = out.rank() > 0 ? out[0] : 1, row_bytes = rows > 0 ? q.outputs[0].bytes() / rows : 0;
  bool rows_match = in.rank() > 0 && in[0] == rows;
  auto call = row_call(rows, rows_match ? 1 : 0, 1, [row_bytes](const CpuArgs& args, Range r) {
    const std::byte* from = args.in<std::byte>(0) + r.begin * row_bytes;
    std::byte* to = args.out<std::byte>(0) + r.begin * row_bytes;
    if (from != to) std::memcpy(to, from, static_cast<size_t>(r.size() * row_bytes));
  });
  return call;
}
std::vector<OpCase> reshape_cases() {
  auto to = [](std::vector<int64_t> s) { return Attrs{{"shape", std::move(s)}}; };
  return {{.inputs = {{DType::f32, {4, 6}}}, .attrs = to({3, 8})},
          {.inputs = {{DType::f32, {5, 2, 3}}}, .attrs = to({5, 6})},
          {.inputs = {{DType::f32, {1}}}, .attrs = to({})},
          {.inputs = {{DType::u8, {0, 3}}}, .attrs = to({3, 0})}};
}

// permute
Types infer_permute(std::span<const TensorType> in, const Attrs& attrs) {
  const auto& axes = attrs.integers("axes");
  std::vector<int64_t> sorted = axes, expected(static_cast<size_t>(in[0].shape.rank()));
  std::ranges::sort(sorted);
  std::iota(expected.begin(), expected.end(), 0);
  if (sorted != expected)
    throw Error(ErrorCode::kUsage, {.what = "permute needs every axis once", .got = to_string(attrs)});
  Shape shape;
  for (int64_t axis : axes) shape.push_back(in[0].shape[static_cast<int>(axis)]);
  return {{in[0].dtype, shape}};
}
std::vector<Tensor> permute_vjp(const OpRecord& r, std::span<const Tensor> g) {
  const auto& axes = r.attrs.integers("axes");
  std::vector<int64_t> inverse(axes.size());
  for (size_t i = 0; i < axes.size(); ++i) inverse[static_cast<size_t>(axes[i])] = static_cast<int64_t>(i);
  return {permute(g[0], inverse)};
}
std::unique_ptr<PreparedKernel> prepare_permute(const KernelRequest& q) {
  auto in = q.inputs[0].shape.strides(), out = in;
  const auto& axes = q.attrs.integers("axes");
  for (size_t i = 0; i < axes.size(); ++i) out[i] = in[static_cast<size_t>(axes[i])];
  return strided_copy(q, q.outputs[0].shape, out, 0, !axes.empty() && axes[0] == 0);
}
std::vector<OpCase> permute_cases() {
  auto by = [](std::vector<int64_t> a) { return Attrs{{"axes", std::move(a)}}; };
  return {{.inputs = {{DType::f32, {5, 7}}}, .attrs = by({1, 0})},
          {.inputs = {{DType::f32, {3, 2, 4, 5}}}, .attrs = by({0, 2, 3, 1})},
          {.inputs = {{DType::f32, {37, 50}}}, .attrs = by({1, 0})},
          {.inputs = {{DType::f64, {2, 19, 3, 21}}}, .attrs = by({0, 3, 2, 1})},
          {.inputs = {{DType::f32, {3, 17, 2, 35}}}, .attrs = by({1, 3, 0, 2})},
          {.inputs = {{DType::u8, {2, 1, 3}}}, .attrs = by({2, 0, 1})},
          {.inputs = {{DType::f16, {19, 33}}}, .attrs = by({1, 0})},
          {.inputs = {{DType::i64, {0, 3}}}, .attrs = by({1, 0})}};
}

// expand
Types infer_expand(std::span<const TensorType> in, const Attrs& attrs) {
  Shape shape(attrs.integers("shape"));
  if (broadcast_shapes(in[0].shape, shape) != shape)
    throw Error(ErrorCode::kUsage, {.what = "the shape does not broadcast to the one asked for",
                                    .got = to_string(in[0].shape),
                                    .expected = to_string(shape)});
  return {{in[0].dtype, shape}};
}
std::vector<Tensor> expand_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {sum_to(g[0], r.inputs[0].shape())};
}
std::unique_ptr<PreparedKernel> prepare_expand(const KernelRequest& q) {
  const Shape &in = q.inputs[0].shape, &out = q.outputs[0].shape;
  auto from = in.strides();
  Strides strides{};
  for (int axis = 0; axis < out.rank(); ++axis)
    if (int own = axis - (out.rank() - in.rank()); own >= 0 && in[own] != 1)
      strides[static_cast<size_t>(axis)] = from[static_cast<size_t>(own)];
  return strided_copy(q, out, strides, 0, in.rank() == out.rank() && in.rank() > 0 && in[0] == out[0]);
}
std::vector<OpCase> expand_cases() {
  auto to = [](std::vector<int64_t> s) { return Attrs{{"shape", std::move(s)}}; };
  return {{.inputs = {{DType::f32, {}}}, .attrs = to({3, 5})},
          {.inputs = {{DType::f32, {1}}}, .attrs = to({19})},
          {.inputs = {{DType::f32, {4, 1, 3}}}, .attrs = to({4, 7, 3})},
          {.inputs = {{DType::f32, {1, 3}}}, .attrs = to({0, 3})},
          {.inputs = {{DType::bf16, {3, 1}}}, .attrs = to({3, 4})},
          {.inputs = {{DType::u8, {5, 1}}}, .attrs = to({2, 5, 6})}};
}

// slice and pad
Types infer_slice(std::span<const TensorType> in, const Attrs& attrs) {
  int axis = normalize_axis(attrs.integer("axis"), in[0].shape.rank());
  int64_t start = attrs.integer("start"), stop = attrs.integer("stop");
  if (start < 0 || stop < start || stop > in[0].shape[axis])
    throw Error(ErrorCode::kUsage, {.what = "slice out of range",
                                    .where = fmt::format("axis {}", axis),
                                    .got = fmt::format("[{}, {})", start, stop),
                                    .expected = fmt::format("within [0, {})", in[0].shape[axis])});
  Shape shape = in[0].shape;
  shape.set(axis, stop - start);
  return {{in[0].dtype, shape}};
}
std::vector<Tensor> slice_vjp(const OpRecord& r, std::span<const Tensor> g) {
  int64_t axis = r.attrs.integer("axis");
  return {pad(g[0], axis, r.attrs.integer("start"), r.inputs[0].dim(axis) - r.attrs.integer("stop"))};
}
std::unique_ptr<PreparedKernel> prepare_slice(const KernelRequest& q) {
  auto strides = q.inputs[0].shape.strides();
  int64_t axis = q.attrs.integer("axis"), start = q.attrs.integer("start");
  return strided_copy(q, q.outputs[0].shape, strides, start * strides[static_cast<size_t>(axis)], axis != 0);
}
std::vector<OpCase> slice_cases() {
  auto by = [](int axis, int start, int stop) {
    return Attrs{{"axis", axis}, {"start", start}, {"stop", stop}};
  };
  return {{.inputs = {{DType::f32, {5, 7}}}, .attrs = by(0, 1, 4)},
          {.inputs = {{DType::f32, {5, 7, 2}}}, .attrs = by(1, 2, 7)},
          {.inputs = {{DType::f32, {37}}}, .attrs = by(0, 2, 33)},
          {.inputs = {{DType::f16, {3, 7}}}, .attrs = by(1, 1, 6)},
          {.inputs = {{DType::i32, {9}}}, .attrs = by(0, 3, 3)}};
}

Types infer_pad(std::span<const TensorType> in, const Attrs& attrs) {
  int axis = normalize_axis(attrs.integer("axis"), in[0].shape.rank());
  int64_t before = attrs.integer("before"), after = attrs.integer("after");
  if (before < 0 || after < 0)
    throw Error(ErrorCode::kUsage, {.what = "negative padding",
                                    .got = fmt::format("{} before and {} after", before, after),
                                    .expected = "0 or more",
                                    .hint = "slice() cuts off"});
  Shape shape = in[0].shape;
  shape.set(axis, shape[axis] + before + after);
  return {{in[0].dtype, shape}};
}
std::vector<Tensor> pad_vjp(const OpRecord& r, std::span<const Tensor> g) {
  int64_t axis = r.attrs.integer("axis"), before = r.attrs.integer("before");
  return {slice(g[0], axis, before, before + r.inputs[0].dim(axis))};
}

/// Copies `block` bytes of every outer index of operand i into its place in the result.
struct BlockCopy {
  int64_t outer, from_bytes, to_bytes, at_bytes;
  void run(const std::byte* from, std::byte* to) const {
    for (int64_t o = 0; o < outer; ++o)
      if (from_bytes > 0)
        std::memcpy(to + o * to_bytes + at_bytes, from + o * from_bytes, static_cast<size_t>(from_bytes));
  }
};
BlockCopy block_copy(const TensorType& part, const TensorType& whole, int64_t axis, int64_t at) {
  int64_t outer = 1, inner = size_bytes(part.dtype);
  for (int i = 0; i < axis; ++i) outer *= part.shape[i];
  for (int i = static_cast<int>(axis) + 1; i < part.shape.rank(); ++i) inner *= part.shape[i];
  int a = static_cast<int>(axis);
  return {outer, part.shape[a] * inner, whole.shape[a] * inner, at * inner};
}

std::unique_ptr<PreparedKernel> prepare_pad(const KernelRequest& q) {
  BlockCopy copy = block_copy(q.inputs[0], q.outputs[0], q.attrs.integer("axis"), q.attrs.integer("before"));
  int64_t bytes = q.outputs[0].bytes();
  return serial_call([copy, bytes](const CpuArgs& args) {
    std::memset(args.out<std::byte>(0), 0, static_cast<size_t>(bytes));
    copy.run(args.in<std::byte>(0), args.out<std::byte>(0));
  });
}
std::vector<OpCase> pad_cases() {
  auto by = [](int axis, int before, int after) {
    return Attrs{{"axis", axis}, {"before", before}, {"after", after}};
  };
  return {{.inputs = {{DType::f32, {5, 7}}}, .attrs = by(0, 1, 0)},
          {.inputs = {{DType::bf16, {3, 5}}}, .attrs = by(1, 1, 2)},
          {.inputs = {{DType::f32, {3, 4, 2}}}, .attrs = by(1, 2, 3)}};
}

// concat
Types infer_concat(std::span<const TensorType> in, const Attrs& attrs) {
  if (in.empty()) throw Error(ErrorCode::kUsage, {.what = "concat of no tensors"});
  int axis = normalize_axis(attrs.integer("axis"), in[0].shape.rank());
  Shape shape = in[0].shape;
  for (size_t i = 1; i < in.size(); ++i) {
    Shape other = in[i].shape;
    bool fits = other.rank() == shape.rank() && in[i].dtype == in[0].dtype;
    for (int a = 0; fits && a < shape.rank(); ++a) fits = a == axis || other[a] == shape[a];
    if (!fits)
      throw Error(ErrorCode::kUsage,
                  {.what = "tensors to concat differ beyond the axis",
                   .got = to_string(in[i]),
                   .expected = fmt::format("like {} but for axis {}", to_string(in[0]), axis)});
    shape.set(axis, shape[axis] + other[axis]);
  }
  return {{in[0].dtype, shape}};
}
std::vector<Tensor> concat_vjp(const OpRecord& r, std::span<const Tensor> g) {
  int64_t axis = r.attrs.integer("axis"), at = 0;
  std::vector<Tensor> grads;
  for (const Tensor& part : r.inputs) {
    grads.push_back(slice(g[0], axis, at, at + part.dim(axis)));
    at += part.dim(axis);
  }
  return grads;
}
std::unique_ptr<PreparedKernel> prepare_concat(const KernelRequest& q) {
  int64_t axis = q.attrs.integer("axis"), at = 0;
  std::vector<BlockCopy> copies;
  for (const TensorType& part : q.inputs) {
    copies.push_back(block_copy(part, q.outputs[0], axis, at));
    at += part.shape[static_cast<int>(axis)];
  }
  return serial_call([copies](const CpuArgs& args) {
    for (size_t i = 0; i < copies.size(); ++i)
      copies[i].run(args.in<std::byte>(static_cast<int>(i)), args.out<std::byte>(0));
  });
}
std::vector<OpCase> concat_cases() {
  return {
      {.inputs = {{DType::f32, {2, 3}}, {DType::f32, {4, 3}}}, .attrs = {{"axis", 0}}},
      {.inputs = {{DType::f16, {2, 3}}, {DType::f16, {2, 1}}}, .attrs = {{"axis", 1}}},
      {.inputs = {{DType::f32, {2, 3}}, {DType::f32, {2, 0}}, {DType::f32, {2, 5}}}, .attrs = {{"axis", 1}}}};
}

#define ROW(op, text, names, shape_rule, dx)                                                           \
  const OpDef k_##op{.name = #op,                                                                      \
                     .doc = text,                                                                      \
                     .operands = names,                                                                \
                     .shapes = shape_rule,                                                             \
                     .infer = infer_##op,                                                              \
                     .vjp = op##_vjp,                                                                  \
                     .gradient = dx,                                                                   \
                     .cases = op##_cases,                                                              \
                     .kernels = {{.backend = "cpu", .name = "copy", .prepare = prepare_##op},          \
                                 {.backend = "cuda", .name = "copy", .prepare = prepare_##op##_cuda}}, \
                     .takes_half = true};
const std::vector<std::string> kX = {"x"};
ROW(reshape, "the same elements, row-major, under attribute shape", kX, "x [...] -> [shape...]",
    "dx = reshape(g)")
ROW(permute, "axis i of the result is axis axes[i] of x", kX, "x [...] -> [...] in the order of axes",
    "dx = g, permuted back")
ROW(expand, "x broadcast to attribute shape", kX, "x [...] -> [shape...]",
    "dx = sum of g over the axes that broadcast")
ROW(slice, "elements [start, stop) of attribute axis", kX, "x [...] -> [...] with stop - start along axis",
    "dx = pad(g)")
ROW(pad, "x with zeros before and after along attribute axis", kX,
    "x [...] -> [...] with before + after more along axis", "dx = slice(g)")
ROW(concat, "operands joined along attribute axis", {}, "[...], ... -> [...] with their sum along axis",
    "of every operand its slice of g")
#undef ROW

}  // namespace

std::vector<const OpDef*> shape_ops() {
  return {&k_reshape, &k_permute, &k_expand, &k_slice, &k_pad, &k_concat};
}

Tensor reshape(const Tensor& x, std::vector<int64_t> shape) {
  int64_t known = 1, wild = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != -1) known *= shape[i];
    else if (wild < 0) wild = static_cast<int64_t>(i);
    else
      throw Error(ErrorCode::kUsage,
                  {.what = "reshape can infer one extent only", .got = to_string(Attrs{{"shape", shape}})});
  }
  if (wild >= 0) shape[static_cast<size_t>(wild)] = known > 0 ? x.numel() / known : 0;
  return reshape(x, Shape(shape));
}
Tensor reshape(const Tensor& x, const Shape& shape) {
  return x.shape() == shape ? x : apply1(k_reshape, {x}, {{"shape", list(shape)}});
}
Tensor flatten(const Tensor& x, int64_t start_axis, int64_t end_axis) {
  int first = normalize_axis(start_axis, x.rank()), last = normalize_axis(end_axis, x.rank());
  if (last < first)
    throw Error(ErrorCode::kUsage,
                {.what = "flatten ends before it begins",
                 .got = fmt::format("axes {} to {} of {}", start_axis, end_axis, to_string(x.type()))});
  Shape shape;
  for (int axis = 0; axis < x.rank(); ++axis)
    if (axis <= first || axis > last) shape.push_back(x.shape()[axis]);
    else shape.set(first, shape[first] * x.shape()[axis]);
  return reshape(x, shape);
}
Tensor permute(const Tensor& x, std::vector<int64_t> axes) {
  for (int64_t& axis : axes) axis = normalize_axis(axis, x.rank());
  return apply1(k_permute, {x}, {{"axes", axes}});
}
Tensor transpose(const Tensor& x) { return permute(x, {1, 0}); }
Tensor expand(const Tensor& x, const Shape& shape) {
  return x.shape() == shape ? x : apply1(k_expand, {x}, {{"shape", list(shape)}});
}
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop) {
  axis = normalize_axis(axis, x.rank());
  const int64_t extent = x.dim(axis);
  auto place = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + extent : at, 0, extent); };
  start = place(start), stop = std::max(start, place(stop));
  return apply1(k_slice, {x}, {{"axis", axis}, {"start", start}, {"stop", stop}});
}
Tensor pad(const Tensor& x, int64_t axis, int64_t before, int64_t after) {
  return apply1(k_pad, {x}, {{"axis", normalize_axis(axis, x.rank())}, {"before", before}, {"after", after}});
}
Tensor concat(const std::vector<Tensor>& parts, int64_t axis) {
  int rank = parts.empty() ? 1 : parts[0].rank();
  return apply1(k_concat, parts, {{"axis", normalize_axis(axis, rank)}});
}

}  // namespace wholestep
