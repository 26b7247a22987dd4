// gather_rows, its adjoint, and take.
#include "wholestep/ops/gather.h"

#include <fmt/format.h>

#include <cstring>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/ops/gather_cuda.h"
#include "wholestep/ops/registry.h"

namespace wholestep {
namespace {

void check_index_type(const TensorType& index) {
  if ((index.dtype != DType::i32 && index.dtype != DType::i64) || index.shape.rank() != 1)
    throw Error(ErrorCode::kUsage, {.what = "row indices must be one axis of integers",
                                    .got = to_string(index),
                                    .expected = "i32 or i64 [B]"});
}

Types infer_gather(std::span<const TensorType> in, const Attrs&) {
  check_index_type(in[1]);
  if (in[0].shape.rank() < 1)
    throw Error(ErrorCode::kUsage,
                {.what = "a table of rows has at least one axis", .got = to_string(in[0])});
  Shape shape = in[0].shape;
  shape.set(0, in[1].shape[0]);
  return {{in[0].dtype, shape}};
}

template <class Fn>
auto with_index(DType dtype, Fn&& fn) {
  return dtype == DType::i32 ? fn(int32_t{}) : fn(int64_t{});
}

std::unique_ptr<PreparedKernel> prepare_gather(const KernelRequest& q) {
  int64_t rows = q.inputs[0].shape[0], count = q.inputs[1].shape[0],
          row_bytes = count > 0 ? q.outputs[0].bytes() / count : 0;
  return with_index(q.inputs[1].dtype, [&](auto zero) {
    using I = decltype(zero);
    return row_call(count, 2, 1, [=](const CpuArgs& args, Range range) {
      for (int64_t b = range.begin; b < range.end; ++b) {
        int64_t row = args.in<I>(1)[b];
        std::byte* to = args.out<std::byte>(0) + b * row_bytes;
        if (row >= 0 && row < rows)
          std::memcpy(to, args.in<std::byte>(0) + row * row_bytes, static_cast<size_t>(row_bytes));
        else std::memset(to, 0xFF, static_cast<size_t>(row_bytes));
      }
    });
  });
}

std::vector<Tensor> gather_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {scatter_add_rows(g[0], r.inputs[1], r.inputs[0].dim(0)), Tensor()};
}

Types infer_scatter(std::span<const TensorType> in, const Attrs& attrs) {
  check_index_type(in[1]);
  if (in[0].shape.rank() < 1 || in[0].shape[0] != in[1].shape[0])
    throw Error(ErrorCode::kUsage, {.what = "as many rows as indices are needed",
                                    .got = to_string(in[0]),
                                    .expected = to_string(in[1].shape)});
  Shape shape{attrs.integer("rows")};
  for (int axis = 1; axis < in[0].shape.rank(); ++axis) shape.push_back(in[0].shape[axis]);
  return {{in[0].dtype, shape}};
}

std::unique_ptr<PreparedKernel> prepare_scatter(const KernelRequest& q) {
  int64_t rows = q.outputs[0].shape[0], count = q.inputs[1].shape[0];
  int64_t width = rows > 0 ? q.outputs[0].shape.numel() / rows : 0;
  return with_index(q.inputs[1].dtype, [&](auto index_zero) {
    using I = decltype(index_zero);
    return visit(q.inputs[0].dtype, [&](auto zero) -> std::unique_ptr<PreparedKernel> {
      using T = decltype(zero);
      return row_call(rows, 0, 1, [=](const CpuArgs& args, Range range) {
        T* out = args.out<T>(0);
        std::memset(out + range.begin * width, 0, static_cast<size_t>(range.size() * width) * sizeof(T));
        for (int64_t b = 0; b < count; ++b) {
          int64_t row = args.in<I>(1)[b];
          if (row < range.begin || row >= range.end) continue;
          const T* from = args.in<T>(0) + b * width;
          for (int64_t k = 0; k < width; ++k)
            out[row * width + k] = static_cast<T>(out[row * width + k] + from[k]);
        }
      });
    });
  });
}

std::vector<Tensor> scatter_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {gather_rows(g[0], r.inputs[1]), Tensor()};
}

Types infer_take(std::span<const TensorType> in, const Attrs& attrs) {
  if (in[0].shape.rank() != 1 || in[0].shape[0] == 0 || in[1] != TensorType{DType::i64, {}})
    throw Error(ErrorCode::kUsage,
                {.what = "take reads one axis of at least one element from an i64 position",
                 .got = to_string(in[0]) + ", " + to_string(in[1])});
  return {{in[0].dtype, {attrs.integer("count")}}};
}

std::unique_ptr<PreparedKernel> prepare_take(const KernelRequest& q) {
  int64_t n = q.inputs[0].shape[0], count = q.outputs[0].shape[0], element = size_bytes(q.inputs[0].dtype);
  return row_call(count, 0, 1, [=](const CpuArgs& args, Range range) {
    int64_t start = *args.in<int64_t>(1);
    for (int64_t i = range.begin; i < range.end; ++i) {
      int64_t from = ((start + i) % n + n) % n;
      std::memcpy(args.out<std::byte>(0) + i * element, args.in<std::byte>(0) + from * element,
                  static_cast<size_t>(element));
    }
  });
}

std::vector<OpCase> gather_cases() {
  return {{.inputs = {{DType::f32, {3, 5}}, {DType::i64, {7}}}},
          {.inputs = {{DType::u8, {3, 2, 2}}, {DType::i32, {4}}}},
          {.inputs = {{DType::bf16, {3, 3}}, {DType::i64, {5}}}},
          {.inputs = {{DType::f32, {3}}, {DType::i32, {0}}}}};
}
std::vector<OpCase> scatter_cases() {
  return {{.inputs = {{DType::f32, {7, 5}}, {DType::i64, {7}}}, .attrs = {{"rows", 4}}},
          {.inputs = {{DType::f32, {5}}, {DType::i32, {5}}}, .attrs = {{"rows", 3}}}};
}
std::vector<OpCase> take_cases() {
  return {{.inputs = {{DType::i32, {11}}, {DType::i64, {}}}, .attrs = {{"count", 5}}, .bound = 11}};
}

const OpDef k_gather{.name = "gather_rows",
                     .doc = "out[b] = table[index[b]]",
                     .operands = {"table", "index"},
                     .shapes = "table [N, ...], index [B] -> [B, ...]",
                     .infer = infer_gather,
                     .vjp = gather_vjp,
                     .gradient = "dtable = scatter_add_rows(g, index)",
                     .cases = gather_cases,
                     .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_gather},
                                 {.backend = "cuda", .name = "rows", .prepare = prepare_gather_cuda}},
                     .takes_half = true};
const OpDef k_scatter{.name = "scatter_add_rows",
                      .doc = "out = 0; out[index[b]] += values[b], in the order of b",
                      .operands = {"values", "index"},
                      .shapes = "values [B, ...], index [B] -> [rows, ...]",
                      .infer = infer_scatter,
                      .vjp = scatter_vjp,
                      .gradient = "dvalues = gather_rows(g, index)",
                      .cases = scatter_cases,
                      .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_scatter},
                                  {.backend = "cuda", .name = "rows", .prepare = prepare_scatter_cuda}}};
const OpDef k_take{.name = "take",
                   .doc = "out[i] = x[(position + i) mod N]",
                   .operands = {"x", "position"},
                   .shapes = "x [N], position [] -> [count]",
                   .infer = infer_take,
                   .cases = take_cases,
                   .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_take},
                               {.backend = "cuda", .name = "rows", .prepare = prepare_take_cuda}}};

void check_range(const Tensor& index, int64_t rows) {
  if (index.symbolic() || (index.dtype() != DType::i32 && index.dtype() != DType::i64)) return;
  Tensor host = index.to_host();
  for (int64_t b = 0; b < index.numel(); ++b) {
    int64_t row = index.dtype() == DType::i32 ? host.data<int32_t>()[static_cast<size_t>(b)]
                                              : host.data<int64_t>()[static_cast<size_t>(b)];
    if (row < 0 || row >= rows)
      throw Error(ErrorCode::kUsage, {.what = "row index out of range",
                                      .where = fmt::format("index[{}]", b),
                                      .got = std::to_string(row),
                                      .expected = fmt::format("0 to {}", rows - 1)});
  }
}

}  // namespace

std::vector<const OpDef*> gather_ops() { return {&k_gather, &k_scatter, &k_take}; }

Tensor gather_rows(const Tensor& table, const Tensor& index) {
  if (table.rank() > 0) check_range(index, table.dim(0));
  return apply1(k_gather, {table, index});
}
Tensor scatter_add_rows(const Tensor& values, const Tensor& index, int64_t rows) {
  check_range(index, rows);
  return apply1(k_scatter, {values, index}, {{"rows", rows}});
}
Tensor take(const Tensor& x, const Tensor& position, int64_t count) {
  return apply1(k_take, {x, position}, {{"count", count}});
}

}  // namespace wholestep
