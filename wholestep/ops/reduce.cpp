// sum, max, argmax: the axes are merged into alternating kept and reduced runs, so every reduction walks
// memory in order.
#include "wholestep/ops/reduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/graph/widen.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce_cuda.h"
#include "wholestep/ops/reduce_loops.h"
#include "wholestep/ops/reduce_walk.h"
#include "wholestep/ops/registry.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/square_blocks.h"

namespace wholestep {
namespace {

Shape reduced_shape(const Shape& shape, const std::vector<int64_t>& axes, bool keep_dims) {
  Shape out;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    bool reduced = std::ranges::find(axes, axis) != axes.end();
    if (!reduced) out.push_back(shape[axis]);
    else if (keep_dims) out.push_back(1);
  }
  return out;
}

template <bool widen>
Types infer_reduce(std::span<const TensorType> in, const Attrs& attrs) {
  for (int64_t axis : attrs.integers("axes"))
    WHOLESTEP_CHECK(normalize_axis(axis, in[0].shape.rank()) == axis);
  DType dtype = widen && !is_floating(in[0].dtype) ? DType::i64 : in[0].dtype;
  return {{dtype, reduced_shape(in[0].shape, attrs.integers("axes"), attrs.flag("keep_dims"))}};
}

/// How a reduction of floating-point x folds: what it starts from, a run into one total, rows into totals.
template <class T>
struct SumFold {
  using Total = double;
  static constexpr Total kStart = 0;
  static void run(Total& total, const T* x, int64_t n) { total += reduce_loops<T>().sum(x, n); }
  static void rows(Total* totals, const T* x, int64_t rows, int64_t stride, int64_t n) {
    reduce_loops<T>().add_rows(totals, x, rows, stride, n);
  }
};
template <class T>
struct MaxFold {
  using Total = T;
  static constexpr Total kStart = -std::numeric_limits<T>::infinity();
  static void run(Total& most, const T* x, int64_t n) {
    T value = reduce_loops<T>().max(x, n);
    reduce_loops<T>().max_rows(&most, &value, 1, 1, 1);
  }
  static void rows(Total* most, const T* x, int64_t rows, int64_t stride, int64_t n) {
    reduce_loops<T>().max_rows(most, x, rows, stride, n);
  }
};

/// Output elements [range) of a reduction of floating-point x.
template <class Fold, class T>
void fold_outputs(const Walk& walk, const T* x, T* out, Range range) {
  if (walk.inner_reduced()) {
    int64_t run = walk.reduced_extents.back();
    for (int64_t i = range.begin; i < range.end; ++i) {
      const T* base = x + walk.kept_offset(i);
      auto total = Fold::kStart;
      for (int64_t r = 0; r < walk.reduced; r += run) Fold::run(total, base + walk.reduced_offset(r), run);
      out[i] = static_cast<T>(total);
    }
    return;
  }
  // Neighbouring outputs lie side by side: fold whole rows into a block of totals.
  constexpr int64_t kBlock = 512;
  typename Fold::Total totals[kBlock];
  int64_t row = walk.kept_extents.empty() ? 1 : walk.kept_extents.back(),
          rows = walk.reduced_extents.empty() ? 1 : walk.reduced_extents.back(),
          stride = walk.reduced_strides.empty() ? 0 : walk.reduced_strides.back();
  for (int64_t i = range.begin; i < range.end;) {
    int64_t n = std::min({kBlock, range.end - i, row - i % row});
    std::fill_n(totals, n, Fold::kStart);
    const T* base = x + walk.kept_offset(i);
    for (int64_t r = 0; r < walk.reduced; r += rows)
      Fold::rows(totals, base + walk.reduced_offset(r), rows, stride, n);
    for (int64_t k = 0; k < n; ++k) out[i + k] = static_cast<T>(totals[k]);
    i += n;
  }
}

/// Everything into few outputs: partial sums of runs of the reduced range first, then their sum.
template <class T>
std::unique_ptr<PreparedKernel> full_sum_call(int64_t n) {
  if (n <= 4096)
    return serial_call([n](const CpuArgs& args) {
      *args.out<T>(0) = static_cast<T>(reduce_loops<T>().sum(args.in<T>(0), n));
    });
  Split split((n + 4095) / 4096);
  auto call = std::make_unique<CpuCall>();
  call->workspace_bytes = split.chunks() * int64_t{sizeof(double)};
  call->phases.push_back({.chunks = split.chunks(), .run = [split, n](const CpuArgs& args, int64_t chunk) {
                            Range r = split[chunk];
                            int64_t begin = r.begin * 4096, end = std::min(n, r.end * 4096);
                            reinterpret_cast<double*>(args.workspace)[chunk] =
                                reduce_loops<T>().sum(args.in<T>(0) + begin, end - begin);
                          }});
  call->phases.push_back({.chunks = 1, .run = [split](const CpuArgs& args, int64_t) {
                            double total = 0;
                            for (int64_t c = 0; c < split.chunks(); ++c)
                              total += reinterpret_cast<double*>(args.workspace)[c];
                            *args.out<T>(0) = static_cast<T>(total);
                          }});
  return call;
}

/// Splits outputs over workers: by rows where axis 0 is kept, else by output elements.
std::unique_ptr<PreparedKernel> output_call(const KernelRequest& q, const Walk& walk,
                                            std::function<void(const CpuArgs&, Range)> run) {
  const Shape& in = q.inputs[0].shape;
  const std::vector<int64_t>& axes = q.attrs.integers("axes");
  if (keeps_rows(in, axes)) {
    int64_t per_row = walk.kept / in[0];
    return row_call(in[0], 1, 1, [=](const CpuArgs& args, Range r) {
      run(args, {r.begin * per_row, r.end * per_row});
    });
  }
  return split_call(walk.kept, std::move(run));
}

std::unique_ptr<PreparedKernel> prepare_sum(const KernelRequest& q) {
  Walk walk(q.inputs[0].shape, q.attrs.integers("axes"));
  return visit(q.inputs[0].dtype, [&](auto zero) -> std::unique_ptr<PreparedKernel> {
    using T = decltype(zero);
    if constexpr (std::is_floating_point_v<T>) {
      if (walk.kept == 1 && walk.reduced_extents.size() <= 1) return full_sum_call<T>(walk.reduced);
      return output_call(q, walk, [walk](const CpuArgs& args, Range r) {
        fold_outputs<SumFold<T>>(walk, args.in<T>(0), args.out<T>(0), r);
      });
    } else {
      return output_call(q, walk, [walk](const CpuArgs& args, Range range) {
        for (int64_t i = range.begin; i < range.end; ++i) {
          int64_t total = 0, base = walk.kept_offset(i);
          for (int64_t r = 0; r < walk.reduced; ++r) total += args.in<T>(0)[base + walk.reduced_offset(r)];
          args.out<int64_t>(0)[i] = total;
        }
      });
    }
  });
}

std::unique_ptr<PreparedKernel> prepare_max(const KernelRequest& q) {
  Walk walk(q.inputs[0].shape, q.attrs.integers("axes"));
  return visit(q.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return output_call(q, walk, [walk](const CpuArgs& args, Range range) {
      if constexpr (std::is_floating_point_v<T>)
        return fold_outputs<MaxFold<T>>(walk, args.in<T>(0), args.out<T>(0), range);
      for (int64_t i = range.begin; i < range.end; ++i) {
        int64_t base = walk.kept_offset(i);
        T best = args.in<T>(0)[base];
        for (int64_t r = 1; r < walk.reduced; ++r) {
          T value = args.in<T>(0)[base + walk.reduced_offset(r)];
          if (value > best) best = value;
        }
        args.out<T>(0)[i] = best;
      }
    });
  });
}

/// The first place of the largest of n neighbours, or of the first NaN: where it is costs less than what it
/// is.
template <class T>
int64_t argmax_of_run(const T* x, int64_t n) {
  const T top = reduce_loops<T>().max(x, n);
  return std::find_if(x, x + n, [top](T value) { return value == top || value != value; }) - x;
}

std::unique_ptr<PreparedKernel> prepare_argmax(const KernelRequest& q) {
  Walk walk(q.inputs[0].shape, q.attrs.integers("axes"));
  return visit(q.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return output_call(q, walk, [walk](const CpuArgs& args, Range range) {
      if constexpr (std::is_floating_point_v<T>)
        if (walk.inner_reduced()) {
          for (int64_t i = range.begin; i < range.end; ++i)
            args.out<int64_t>(0)[i] = argmax_of_run(args.in<T>(0) + walk.kept_offset(i), walk.reduced);
          return;
        }
      for (int64_t i = range.begin; i < range.end; ++i) {
        int64_t base = walk.kept_offset(i), best = 0;
        for (int64_t r = 1; r < walk.reduced; ++r) {
          T value = args.in<T>(0)[base + walk.reduced_offset(r)],
            top = args.in<T>(0)[base + walk.reduced_offset(best)];
          if (value > top || (value != value && top == top)) best = r;
        }
        args.out<int64_t>(0)[i] = best;
      }
    });
  });
}

Types infer_max(std::span<const TensorType> in, const Attrs& attrs) {
  Types types = infer_reduce<false>(in, attrs);
  for (int64_t axis : attrs.integers("axes"))
    if (in[0].shape[static_cast<int>(axis)] == 0)
      throw Error(ErrorCode::kUsage, {.what = "the largest of no elements is not defined",
                                      .where = fmt::format("axis {}", axis)});
  return types;
}
Types infer_argmax(std::span<const TensorType> in, const Attrs& attrs) {
  Types types = infer_max(in, attrs);
  types[0].dtype = DType::i64;
  return types;
}

/// Puts the reduced axes back as extent 1, so that the result broadcasts against x.
Tensor unreduced(const Tensor& t, const OpRecord& r) {
  return reshape(t, reduced_shape(r.inputs[0].shape(), r.attrs.integers("axes"), true));
}
std::vector<Tensor> sum_vjp(const OpRecord& r, std::span<const Tensor> g) {
  return {expand(unreduced(g[0], r), r.inputs[0].shape())};
}
std::vector<Tensor> max_vjp(const OpRecord& r, std::span<const Tensor> g) {
  const Tensor& x = r.inputs[0];
  Tensor ties = cast(equal(x, unreduced(r.outputs[0], r)), x.dtype());
  return {ties * (unreduced(g[0], r) / sum(ties, r.attrs.integers("axes"), true))};
}

double reduce_flops(const KernelRequest& q) { return static_cast<double>(q.inputs[0].shape.numel()); }

/// Whether operand i is sums of squares already.
bool is_sum(const Attrs& attrs, size_t i) {
  return attrs.has("sums") &&
         std::ranges::find(attrs.integers("sums"), static_cast<int64_t>(i)) != attrs.integers("sums").end();
}

Types infer_sum_squares(std::span<const TensorType> in, const Attrs& attrs) {
  std::optional<DType> dtype;
  for (size_t i = 0; i < in.size(); ++i) {
    if (is_sum(attrs, i) ? in[i].dtype != DType::f64
                         : !is_floating(in[i].dtype) || in[i].dtype != dtype.value_or(in[i].dtype))
      throw Error(ErrorCode::kUsage,
                  {.what = "sum_squares takes floating-point tensors of one dtype", .got = to_string(in[i])});
    if (!is_sum(attrs, i)) dtype = in[i].dtype;
  }
  return {{DType::f64, {}}};
}

template <class T>
double squares_of(const T* x, int64_t n) {
  if constexpr (!is_half(kDTypeOf<T>)) {
    return reduce_loops<T>().sum_squares(x, n);
  } else {
    constexpr int64_t kRun = 512;
    float wide[kRun];
    double total = 0;
    for (int64_t at = 0; at < n; at += kRun) {
      int64_t run = std::min(kRun, n - at);
      for (int64_t i = 0; i < run; ++i) wide[i] = x[at + i];
      total += reduce_loops<float>().sum_squares(wide, run);
    }
    return total;
  }
}

/// Blocks of all operands are numbered through and summed side by side; then each operand's are added in
/// order, and the operands' sums.
std::unique_ptr<PreparedKernel> prepare_sum_squares(const KernelRequest& q) {
  constexpr int64_t kFewElements = 16384;  // take less time than a barrier
  struct Block {
    size_t operand;
    int64_t begin, elements;
  };
  std::vector<Block> blocks;
  int64_t elements = 0;
  std::vector<int64_t> counts;  // per operand, of blocks, or of the sums it is
  for (size_t i = 0; i < q.inputs.size(); ++i) {
    const int64_t before = static_cast<int64_t>(blocks.size());
    SquareBlocks cut(q.inputs[i].shape);
    for (int64_t row = 0; row < cut.rows && !is_sum(q.attrs, i); row += cut.block_rows)
      for (int64_t column = 0; column < cut.columns; column += cut.block_columns)
        blocks.push_back(
            {i, row * cut.columns + column,
             std::min(cut.block_rows, cut.rows - row) * std::min(cut.block_columns, cut.columns - column)}),
            elements += blocks.back().elements;
    counts.push_back(is_sum(q.attrs, i) ? q.inputs[i].shape.numel()
                                        : static_cast<int64_t>(blocks.size()) - before);
  }
  Split split(static_cast<int64_t>(blocks.size()));
  auto sum_blocks = [blocks, dtype = q.inputs[blocks.empty() ? 0 : blocks[0].operand].dtype](
                        const CpuArgs& args, Range of) {
    double* sums = reinterpret_cast<double*>(args.workspace);
    for (int64_t b = of.begin; b < of.end; ++b) {
      const Block& block = blocks[static_cast<size_t>(b)];
      visit_stored(dtype, [&](auto zero) {
        using T = decltype(zero);
        if constexpr (is_floating(kDTypeOf<T>))
          sums[b] = squares_of(args.in<T>(static_cast<int>(block.operand)) + block.begin, block.elements);
      });
    }
  };
  std::vector<bool> given;
  for (size_t i = 0; i < q.inputs.size(); ++i) given.push_back(is_sum(q.attrs, i));
  auto join = [counts, given](const CpuArgs& args) {
    const double* sums = reinterpret_cast<const double*>(args.workspace);
    double total = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      total += reduce_loops<double>().sum(given[i] ? args.in<double>(static_cast<int>(i)) : sums, counts[i]);
      if (!given[i]) sums += counts[i];
    }
    *args.out<double>(0) = total;
  };
  std::unique_ptr<CpuCall> call;
  if (elements <= kFewElements) {
    call = serial_call([=](const CpuArgs& args) {
      sum_blocks(args, {0, split.total});
      join(args);
    });
  } else {
    call = std::make_unique<CpuCall>();
    call->phases.push_back({.chunks = split.chunks(), .run = [=](const CpuArgs& args, int64_t chunk) {
                              sum_blocks(args, split[chunk]);
                            }});
    call->phases.push_back({.chunks = 1, .run = [=](const CpuArgs& args, int64_t) { join(args); }});
  }
  call->workspace_bytes = split.total * int64_t{sizeof(double)};
  return call;
}

std::vector<Tensor> sum_squares_vjp(const OpRecord& r, std::span<const Tensor> g) {
  std::vector<Tensor> grads;
  for (size_t i = 0; i < r.inputs.size(); ++i)
    grads.push_back(is_sum(r.attrs, i) ? expand(g[0], r.inputs[i].shape())
                                       : rounded_once(r.inputs[i], [&](const Tensor& x) {
                                           return x * cast(g[0] * 2.0, x.dtype());
                                         }));
  return grads;
}
double sum_squares_flops(const KernelRequest& q) {
  double total = 0;
  for (const TensorType& type : q.inputs) total += 2.0 * static_cast<double>(type.shape.numel());
  return total;
}
std::vector<OpCase> sum_squares_cases() {
  return {{.inputs = {{DType::f32, {}}}},
          {.inputs = {{DType::f32, {0, 3}}}},
          {.inputs = {{DType::f32, {7, 13}}}},
          {.inputs = {{DType::f32, {11, 1031}}}},
          {.inputs = {{DType::f32, {5}}, {DType::f32, {3, 4}}, {DType::f32, {4100}}}},
          {.inputs = {{DType::f16, {5}}, {DType::f16, {3, 4}}, {DType::f16, {4100}}}},
          {.inputs = {{DType::bf16, {11, 1031}}}},
          {.inputs = {{DType::f64, {}}, {DType::f32, {3, 4}}, {DType::f64, {}}},
           .attrs = {{"sums", std::vector<int64_t>{0, 2}}}},
          {.inputs = {{DType::f64, {}}}, .attrs = {{"sums", std::vector<int64_t>{0}}}},
          {.inputs = {{DType::f64, {98}}, {DType::f32, {256}}, {DType::f64, {1030}}},
           .attrs = {{"sums", std::vector<int64_t>{0, 2}}}},
          {.inputs = {{DType::f64, {3}}, {DType::f32, {11, 2062}}},
           .attrs = {{"sums", std::vector<int64_t>{0}}}}};
}

std::vector<OpCase> reduce_cases(DType dtype) {
  auto axes = [](std::vector<int64_t> a, bool keep = false) {
    return Attrs{{"axes", std::move(a)}, {"keep_dims", keep}};
  };
  std::vector<OpCase> cases;
  cases.push_back({.inputs = {{dtype, {1}}}, .attrs = axes({0}), .distinct = true});
  cases.push_back({.inputs = {{dtype, {7, 13}}}, .attrs = axes({0}), .distinct = true});
  cases.push_back({.inputs = {{dtype, {7, 13}}}, .attrs = axes({1}, true), .distinct = true});
  cases.push_back({.inputs = {{dtype, {3, 5, 2, 17}}}, .attrs = axes({0, 2, 3}), .distinct = true});
  cases.push_back({.inputs = {{dtype, {3, 5, 2, 17}}}, .attrs = axes({1}), .distinct = true});
  cases.push_back({.inputs = {{dtype, {11, 1031}}}, .attrs = axes({0, 1}), .distinct = true});
  return cases;
}
std::vector<OpCase> sum_cases() {
  std::vector<OpCase> cases = reduce_cases(DType::f32);
  cases.push_back(
      {.inputs = {{DType::f32, {0, 3}}}, .attrs = {{"axes", std::vector<int64_t>{0}}, {"keep_dims", false}}});
  cases.push_back({.inputs = {{DType::boolean, {9, 5}}},
                   .attrs = {{"axes", std::vector<int64_t>{0, 1}}, {"keep_dims", false}}});
  return cases;
}
std::vector<OpCase> max_cases() { return reduce_cases(DType::f32); }
std::vector<OpCase> argmax_cases() {
  auto cases = reduce_cases(DType::f32);
  std::erase_if(cases, [](const OpCase& c) {
    return c.attrs.integers("axes").size() != 1 || c.attrs.flag("keep_dims");
  });
  cases.push_back({.inputs = {{DType::f32, {11, 1031}}},
                   .attrs = {{"axes", std::vector<int64_t>{1}}, {"keep_dims", false}},
                   .distinct = true});
  return cases;
}

const OpDef k_sum{.name = "sum",
                  .doc = "sum of x over attribute axes, accumulated in f64",
                  .operands = {"x"},
                  .shapes = "x [...] -> [...] without axes (keep_dims: 1 in their place)",
                  .infer = infer_reduce<true>,
                  .vjp = sum_vjp,
                  .gradient = "dx = g broadcast to x",
                  .flops = reduce_flops,
                  .cases = sum_cases,
                  .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_sum},
                              {.backend = "cuda", .name = "tiles", .prepare = prepare_sum_cuda}}};
const OpDef k_sum_squares{
    .name = "sum_squares",
    .doc =
        "sum of x * x over all elements of all operands, accumulated in f64; operands in attribute sums are "
        "such sums already",
    .operands = {"x"},
    .shapes = "x [...], ... -> []",
    .infer = infer_sum_squares,
    .vjp = sum_squares_vjp,
    .gradient = "dx = 2 g x",
    .flops = sum_squares_flops,
    .cases = sum_squares_cases,
    .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_sum_squares},
                {.backend = "cuda", .name = "tiles", .prepare = prepare_sum_squares_cuda}},
    .takes_half = true};
const OpDef k_max{.name = "max",
                  .doc = "largest element of x over attribute axes",
                  .operands = {"x"},
                  .shapes = "x [...] -> [...] without axes (keep_dims: 1 in their place)",
                  .infer = infer_max,
                  .vjp = max_vjp,
                  .gradient = "dx = g, shared equally by ties, at the largest elements, else 0",
                  .flops = reduce_flops,
                  .cases = max_cases,
                  .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_max},
                              {.backend = "cuda", .name = "tiles", .prepare = prepare_max_cuda}}};
const OpDef k_argmax{.name = "argmax",
                     .doc = "index of the first largest element of x along attribute axes (one)",
                     .operands = {"x"},
                     .shapes = "x [...] -> [...] without axes (keep_dims: 1 in their place)",
                     .infer = infer_argmax,
                     .flops = reduce_flops,
                     .cases = argmax_cases,
                     .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_argmax},
                                 {.backend = "cuda", .name = "tiles", .prepare = prepare_argmax_cuda}}};

std::vector<int64_t> normalized(const Tensor& x, std::vector<int64_t> axes) {
  if (axes.empty())
    for (int axis = 0; axis < x.rank(); ++axis) axes.push_back(axis);
  for (int64_t& axis : axes) axis = normalize_axis(axis, x.rank());
  std::ranges::sort(axes);
  if (std::ranges::adjacent_find(axes) != axes.end())
    throw Error(ErrorCode::kUsage,
                {.what = "an axis is named twice in a reduction", .got = to_string(Attrs{{"axes", axes}})});
  return axes;
}

}  // namespace

std::vector<const OpDef*> reduce_ops() { return {&k_sum, &k_sum_squares, &k_max, &k_argmax}; }

Tensor sum(const Tensor& x, std::vector<int64_t> axes, bool keep_dims) {
  return apply1(k_sum, {x}, {{"axes", normalized(x, std::move(axes))}, {"keep_dims", keep_dims}});
}

Tensor mean(const Tensor& x, std::vector<int64_t> axes, bool keep_dims) {
  return rounded_once(x, [&](const Tensor& wide) {
    Tensor total = sum(wide, std::move(axes), keep_dims);
    return total * (static_cast<double>(total.numel()) / static_cast<double>(x.numel()));
  });
}

Tensor sum_squares(const std::vector<Tensor>& tensors) { return apply1(k_sum_squares, tensors); }

Tensor max(const Tensor& x, std::vector<int64_t> axes, bool keep_dims) {
  return apply1(k_max, {x}, {{"axes", normalized(x, std::move(axes))}, {"keep_dims", keep_dims}});
}

Tensor argmax(const Tensor& x, int64_t axis, bool keep_dims) {
  return apply1(k_argmax, {x}, {{"axes", normalized(x, {axis})}, {"keep_dims", keep_dims}});
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  WHOLESTEP_CHECK(broadcast_shapes(x.shape(), shape) == x.shape());
  std::vector<int64_t> axes;
  int extra = x.rank() - shape.rank();
  for (int axis = 0; axis < x.rank(); ++axis)
    if (axis < extra || (shape[axis - extra] == 1 && x.shape()[axis] != 1)) axes.push_back(axis);
  return reshape(sum(x, axes), shape);
}

}  // namespace wholestep
