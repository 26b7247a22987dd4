// argsort, and what follows from it.
#include "wholestep/ops/sort.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/ops/arrange.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/indexing.h"
#include "wholestep/ops/registry.h"
#include "wholestep/ops/sort_cuda.h"

namespace wholestep {
namespace {

Types infer_argsort(std::span<const TensorType> in, const Attrs&) {
  if (in[0].shape.rank() < 1)
    throw Error(ErrorCode::kUsage, {.what = "sorting needs an axis", .got = to_string(in[0])});
  return {{DType::i64, in[0].shape}};
}

std::unique_ptr<PreparedKernel> prepare_argsort(const KernelRequest& q) {
  const Shape& shape = q.inputs[0].shape;
  const int64_t n = shape.back(), rows = shape.rank() > 1 ? shape[0] : 1,
                lines = shape.numel() == 0 ? 0 : shape.numel() / n / rows;  // of one row
  const bool descending = q.attrs.flag("descending");
  return visit(q.inputs[0].dtype, [&](auto zero) -> std::unique_ptr<PreparedKernel> {
    using T = decltype(zero);
    auto run = [=](const CpuArgs& args, Range range) {
      for (int64_t line = range.begin * lines; line < range.end * lines; ++line) {
        const T* x = args.in<T>(0) + line * n;
        int64_t* order = args.out<int64_t>(0) + line * n;
        auto below = [](T a, T b) { return a < b || (a == a && b != b); };
        std::iota(order, order + n, 0);
        std::sort(order, order + n,
                  [&](int64_t i, int64_t j) {  // which, unlike stable_sort, allocates nothing
                    T a = descending ? x[j] : x[i], b = descending ? x[i] : x[j];
                    return below(a, b) || (!below(b, a) && i < j);
                  });
      }
    };
    if (rows > 1) return row_call(rows, 1, 1, run);
    return serial_call([run](const CpuArgs& args) { run(args, {0, 1}); });
  });
}

std::vector<OpCase> argsort_cases() {
  auto by = [](bool descending) { return Attrs{{"descending", descending}}; };
  return {{.inputs = {{DType::f32, {37}}}, .attrs = by(false)},
          {.inputs = {{DType::f32, {5, 1}}}, .attrs = by(true)},
          {.inputs = {{DType::f32, {3, 2, 131}}}, .attrs = by(true)},
          {.inputs = {{DType::i64, {7, 19}}}, .attrs = by(false)},  // many equal
          {.inputs = {{DType::u8, {1, 23}}}, .attrs = by(true)},
          {.inputs = {{DType::f32, {0, 3}}}, .attrs = by(false)},
          {.inputs = {{DType::f32, {3, 0}}}, .attrs = by(false)}};
}

const OpDef k_argsort{.name = "argsort",
                      .doc = "indices that put x in order along the last axis; equal elements in theirs",
                      .operands = {"x"},
                      .shapes = "x [...] -> [...]",
                      .infer = infer_argsort,
                      .cases = argsort_cases,
                      .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_argsort},
                                  {.backend = "cuda", .name = "ranks", .prepare = prepare_argsort_cuda}}};

}  // namespace

std::vector<const OpDef*> sort_ops() { return {&k_argsort}; }

Tensor argsort(const Tensor& x, int64_t axis, bool descending) {
  if (x.rank() == 0) return new_full(x, {}, 0, DType::i64);
  axis = normalize_axis(axis, x.rank());
  if (axis == x.rank() - 1) return apply1(k_argsort, {x}, {{"descending", descending}});
  return transpose(argsort(transpose(x, axis, -1), -1, descending), axis, -1);
}

Sorted sort(const Tensor& x, int64_t axis, bool descending) {
  Tensor indices = argsort(x, axis, descending);
  return {x.rank() == 0 ? x : gather(x, axis, indices), indices};
}

Sorted topk(const Tensor& x, int64_t k, int64_t axis, bool largest) {
  if (k < 0 || k > x.dim(axis))
    throw Error(ErrorCode::kUsage, {.what = "topk of more elements than there are",
                                    .where = fmt::format("axis {} of {}", axis, to_string(x.type())),
                                    .got = fmt::format("k = {}", k),
                                    .expected = fmt::format("0 to {}", x.dim(axis))});
  Tensor indices = slice(argsort(x, axis, largest), axis, 0, k);
  return {gather(x, axis, indices), indices};
}

}  // namespace wholestep
