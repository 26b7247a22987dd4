// Pooling as plain loops over windows, f32 and f64. Samples are independent, so they are split over workers.
#include "wholestep/ops/pool2d_cpu.h"

#include <algorithm>

#include "wholestep/ops/pool2d_loops.h"

namespace wholestep {
namespace {

/// Windows of `kernel` elements every `stride`, cut to the input.
PoolAxis sliding(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding) {
  PoolAxis axis = {in, out, {}};
  for (int64_t o = 0; o < out; ++o) {
    int64_t begin = o * stride - padding;
    axis.windows.push_back({std::max<int64_t>(begin, 0), std::min(begin + kernel, in)});
  }
  return axis;
}

/// PyTorch's bins: floor(o in / out) to ceil((o + 1) in / out).
PoolAxis adaptive(int64_t in, int64_t out) {
  PoolAxis axis = {in, out, {}};
  for (int64_t o = 0; o < out; ++o) axis.windows.push_back({o * in / out, ((o + 1) * in + out - 1) / out});
  return axis;
}

/// For each input, the outputs whose windows hold it: a range, since windows move one way only.
std::vector<Range> readers(const PoolAxis& axis) {
  std::vector<Range> ranges;
  for (int64_t i = 0; i < axis.in; ++i) {
    auto after = [&](const Range& window) { return window.end <= i; };
    auto starts = [&](const Range& window) { return window.begin <= i; };
    auto first = std::partition_point(axis.windows.begin(), axis.windows.end(), after);
    auto last = std::partition_point(first, axis.windows.end(), starts);
    ranges.push_back({first - axis.windows.begin(), last - axis.windows.begin()});
  }
  return ranges;
}

template <class Fn>
std::unique_ptr<PreparedKernel> with_type(DType dtype, Fn&& fn) {
  return dtype == DType::f32 ? fn(float{}) : fn(double{});
}

/// A call over a batch of planes, run(args, plane), samples spread over workers.
template <class Fn>
std::unique_ptr<PreparedKernel> plane_call(int64_t batch, int64_t channels, uint64_t row_inputs,
                                           uint64_t row_outputs, Fn run) {
  return row_call(batch, row_inputs, row_outputs, [=](const CpuArgs& args, Range samples) {
    for (int64_t plane = samples.begin * channels; plane < samples.end * channels; ++plane) run(args, plane);
  });
}

template <class T>
void max_plane(const PoolProblem& p, const T* x, T* y, int32_t* argmax) {
  for (Range rows : p.y.windows)
    for (Range columns : p.x.windows) {
      int64_t best = rows.begin * p.x.in + columns.begin;
      for (int64_t h = rows.begin; h < rows.end; ++h)
        for (int64_t w = columns.begin; w < columns.end; ++w) {
          T value = x[h * p.x.in + w];
          if (value > x[best] || (value != value && x[best] == x[best])) best = h * p.x.in + w;
        }
      *y++ = x[best];
      *argmax++ = static_cast<int32_t>(best);
    }
}

/// 2x2 windows side by side over an even f32 plane; not larger ones that padding leaves so much of.
bool is_2x2(const PoolProblem& p) {
  auto fits = [](const PoolAxis& axis) {
    return axis.in == 2 * axis.out &&
           std::ranges::all_of(axis.windows, [](Range w) { return w.size() == 2; });
  };
  return fits(p.y) && fits(p.x) && (p.divisor == 0 || p.divisor == 4);
}

double divisor_of(const PoolProblem& p, Range rows, Range columns) {
  return p.divisor > 0 ? p.divisor : static_cast<double>(rows.size() * columns.size());
}

template <class T>
void average_plane(const PoolProblem& p, const T* x, T* y) {
  for (Range rows : p.y.windows)
    for (Range columns : p.x.windows) {
      double total = 0;
      for (int64_t h = rows.begin; h < rows.end; ++h)
        for (int64_t w = columns.begin; w < columns.end; ++w) total += static_cast<double>(x[h * p.x.in + w]);
      *y++ = static_cast<T>(total / divisor_of(p, rows, columns));
    }
}

/// Neighbouring inputs that the same windows cover get the same gradient, which is then computed once.
template <class T>
void average_plane_dx(const PoolProblem& p, const std::vector<Range>& row_readers,
                      const std::vector<Range>& column_readers, const T* g, T* dx) {
  auto same = [](Range a, Range b) { return a.begin == b.begin && a.end == b.end; };
  for (size_t h = 0; h < row_readers.size(); ++h, dx += p.x.in) {
    if (h > 0 && same(row_readers[h], row_readers[h - 1])) {
      std::copy_n(dx - p.x.in, p.x.in, dx);
      continue;
    }
    for (size_t w = 0; w < column_readers.size(); ++w) {
      if (w > 0 && same(column_readers[w], column_readers[w - 1])) {
        dx[w] = dx[w - 1];
        continue;
      }
      double total = 0;
      for (int64_t i = row_readers[h].begin; i < row_readers[h].end; ++i)
        for (int64_t j = column_readers[w].begin; j < column_readers[w].end; ++j)
          total += static_cast<double>(g[i * p.x.out + j]) /
                   divisor_of(p, p.y.windows[static_cast<size_t>(i)], p.x.windows[static_cast<size_t>(j)]);
      dx[w] = static_cast<T>(total);
    }
  }
}

}  // namespace

PoolProblem pool_problem(const KernelRequest& request) {
  bool backward = request.op.ends_with("_dx");
  const Shape &in = (backward ? request.outputs[0] : request.inputs[0]).shape,
              &out = (backward ? request.inputs[0] : request.outputs[0]).shape;
  PoolProblem p = {.batch = in[0], .channels = in[1], .y = {}, .x = {}, .divisor = 0};
  if (request.op.starts_with("adaptive")) {
    p.y = adaptive(in[2], out[2]);
    p.x = adaptive(in[3], out[3]);
    return p;
  }
  const auto &kernel = request.attrs.integers("kernel"), &stride = request.attrs.integers("stride"),
             &padding = request.attrs.integers("padding");
  p.y = sliding(in[2], out[2], kernel[0], stride[0], padding[0]);
  p.x = sliding(in[3], out[3], kernel[1], stride[1], padding[1]);
  p.divisor = static_cast<double>(kernel[0] * kernel[1]);
  return p;
}

std::unique_ptr<PreparedKernel> prepare_max_pool2d(const KernelRequest& request) {
  const PoolProblem p = pool_problem(request);
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return plane_call(p.batch, p.channels, 1, 3, [p, pairs = is_2x2(p)](const CpuArgs& args, int64_t plane) {
      const int64_t in = p.y.in * p.x.in, out = p.y.out * p.x.out;
      const T* x = args.in<T>(0) + plane * in;
      T* y = args.out<T>(0) + plane * out;
      int32_t* argmax = args.out<int32_t>(1) + plane * out;
      if constexpr (std::is_same_v<T, float>)
        if (pairs) return max_pool_2x2_plane(x, p.y.out, p.x.out, y, argmax);
      max_plane(p, x, y, argmax);
    });
  });
}

std::unique_ptr<PreparedKernel> prepare_max_pool2d_dx(const KernelRequest& request) {
  const Shape &g = request.inputs[0].shape, &dx = request.outputs[0].shape;
  const int64_t rows = g[2], columns = g[3], in = dx[2] * dx[3];
  const bool pairs = request.attrs.has("kernel") && is_2x2(pool_problem(request));
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return plane_call(g[0], g[1], 3, 1, [=](const CpuArgs& args, int64_t plane) {
      const int64_t out = rows * columns;
      const T* from = args.in<T>(0) + plane * out;
      const int32_t* place = args.in<int32_t>(1) + plane * out;
      T* to = args.out<T>(0) + plane * in;
      if constexpr (std::is_same_v<T, float>)
        if (pairs) return max_pool_2x2_plane_dx(from, place, rows, columns, to);
      std::fill_n(to, in, T(0));
      for (int64_t o = 0; o < out; ++o) to[place[o]] += from[o];
    });
  });
}

std::unique_ptr<PreparedKernel> prepare_avg_pool2d(const KernelRequest& request) {
  const PoolProblem p = pool_problem(request);
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return plane_call(p.batch, p.channels, 1, 1, [p, pairs = is_2x2(p)](const CpuArgs& args, int64_t plane) {
      const T* x = args.in<T>(0) + plane * p.y.in * p.x.in;
      T* y = args.out<T>(0) + plane * p.y.out * p.x.out;
      if constexpr (std::is_same_v<T, float>)
        if (pairs) return average_pool_2x2_plane(x, p.y.out, p.x.out, y);
      average_plane(p, x, y);
    });
  });
}

std::unique_ptr<PreparedKernel> prepare_avg_pool2d_dx(const KernelRequest& request) {
  const PoolProblem p = pool_problem(request);
  auto rows = readers(p.y), columns = readers(p.x);
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return plane_call(p.batch, p.channels, 1, 1, [=, pairs = is_2x2(p)](const CpuArgs& args, int64_t plane) {
      const T* g = args.in<T>(0) + plane * p.y.out * p.x.out;
      T* dx = args.out<T>(0) + plane * p.y.in * p.x.in;
      if constexpr (std::is_same_v<T, float>)
        if (pairs) return average_pool_2x2_plane_dx(g, p.y.out, p.x.out, dx);
      average_plane_dx(p, rows, columns, g, dx);
    });
  });
}

}  // namespace wholestep
