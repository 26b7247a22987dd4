// split: inference, gradient and CPU kernel.
#include "wholestep/ops/split.h"

#include <fmt/format.h>

#include <cstring>
#include <numeric>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/registry.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/split_cuda.h"

namespace wholestep {
namespace {

Types infer(std::span<const TensorType> in, const Attrs& attrs) {
  int axis = normalize_axis(attrs.integer("axis"), in[0].shape.rank());
  const auto& sizes = attrs.integers("sizes");
  int64_t total = 0;
  for (int64_t size : sizes) total += std::max<int64_t>(size, 0);
  bool negative = std::ranges::any_of(sizes, [](int64_t size) { return size < 0; });
  if (sizes.empty() || negative || total != in[0].shape[axis])
    throw Error(ErrorCode::kUsage, {.what = "sizes to split by do not add up to the extent",
                                    .where = fmt::format("axis {}", axis),
                                    .got = to_string(Attrs{{"sizes", sizes}}),
                                    .expected = fmt::format("a sum of {}", in[0].shape[axis])});
  Types parts;
  for (int64_t size : sizes) {
    Shape shape = in[0].shape;
    shape.set(axis, size);
    parts.push_back({in[0].dtype, shape});
  }
  return parts;
}

std::vector<Tensor> vjp(const OpRecord& r, std::span<const Tensor> g) {
  std::vector<Tensor> parts;
  for (size_t i = 0; i < g.size(); ++i)
    parts.push_back(g[i].defined() ? g[i] : full(r.outputs[i].shape(), 0, r.outputs[i].dtype()));
  return {concat(parts, r.attrs.integer("axis"))};
}

/// By rows where the axis is another, else a part at a time.
std::unique_ptr<PreparedKernel> prepare(const KernelRequest& q) {
  const Shape& x = q.inputs[0].shape;
  int axis = static_cast<int>(q.attrs.integer("axis"));
  int64_t outer = 1, inner_bytes = size_bytes(q.inputs[0].dtype);
  for (int i = 0; i < axis; ++i) outer *= x[i];
  for (int i = axis + 1; i < x.rank(); ++i) inner_bytes *= x[i];
  std::vector<int64_t> ends = q.attrs.integers("sizes");
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  int64_t whole = ends.back() * inner_bytes;
  auto copy = [=](const CpuArgs& args, size_t part, Range range) {
    int64_t begin = part > 0 ? ends[part - 1] * inner_bytes : 0, bytes = ends[part] * inner_bytes - begin;
    if (bytes == 0) return;
    for (int64_t o = range.begin; o < range.end; ++o)
      std::memcpy(args.out<std::byte>(static_cast<int>(part)) + o * bytes,
                  args.in<std::byte>(0) + o * whole + begin, static_cast<size_t>(bytes));
  };
  int64_t parts = static_cast<int64_t>(ends.size());
  if (axis == 0)
    return split_call(parts, [=](const CpuArgs& args, Range range) {
      for (int64_t part = range.begin; part < range.end; ++part)
        copy(args, static_cast<size_t>(part), {0, 1});
    });
  int64_t per_row = x[0] > 0 ? outer / x[0] : 0;
  return row_call(x[0], 1, kAllOperands, [=](const CpuArgs& args, Range rows) {
    for (int64_t part = 0; part < parts; ++part)
      copy(args, static_cast<size_t>(part), {rows.begin * per_row, rows.end * per_row});
  });
}

std::vector<OpCase> cases() {
  auto by = [](int axis, std::vector<int64_t> sizes) {
    return Attrs{{"axis", axis}, {"sizes", std::move(sizes)}};
  };
  return {{.inputs = {{DType::f32, {5, 7}}}, .attrs = by(0, {1, 3, 1})},
          {.inputs = {{DType::f32, {3, 7, 2}}}, .attrs = by(1, {2, 0, 5})},
          {.inputs = {{DType::f32, {2, 3, 12}}}, .attrs = by(2, {4, 8})},
          {.inputs = {{DType::i64, {4}}}, .attrs = by(0, {4})},
          {.inputs = {{DType::u8, {0, 3}}}, .attrs = by(1, {1, 2})}};
}

const OpDef k_split{.name = "split",
                    .doc = "x cut along attribute axis into parts of attribute sizes",
                    .operands = {"x"},
                    .shapes = "x [...] -> [...] with sizes[i] along axis, ...",
                    .infer = infer,
                    .vjp = vjp,
                    .gradient = "dx = concat(g, g1, ...)",
                    .cases = cases,
                    .kernels = {{.backend = "cpu", .name = "copy", .prepare = prepare},
                                {.backend = "cuda", .name = "copy", .prepare = prepare_split_cuda}},
                    .takes_half = true};

}  // namespace

std::vector<const OpDef*> split_ops() { return {&k_split}; }

std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t axis) {
  if (sizes.size() == 1 && sizes[0] == x.dim(axis)) return {x};
  return apply(k_split, {x}, {{"axis", normalize_axis(axis, x.rank())}, {"sizes", sizes}});
}

}  // namespace wholestep
