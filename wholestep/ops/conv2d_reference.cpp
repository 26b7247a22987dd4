// Convolutions as plain loops, f32 and f64, every sum in f64: what the fast kernels are compared with.
#include "wholestep/backend/cpu/call.h"
#include "wholestep/ops/conv2d_cpu.h"

namespace wholestep {
namespace {

/// Strides of the three tensors, in elements: x [N, Ci, H, W], weight [Co, Cg, Kh, Kw], y [N, Co, Ho, Wo].
struct Loops : Conv2d {
  int64_t batch, strips, group_in, group_out, x_plane, y_plane, taps;
  bool bias, masked, relu;

  explicit Loops(const Conv2dProblem& problem)
      : Conv2d(problem.conv),
        batch(problem.batch),
        strips(problem.strips),
        bias(problem.bias),
        masked(problem.masked),
        relu(problem.relu) {
    group_in = in_channels / groups;
    group_out = out_channels / groups;
    x_plane = y.in * x.in;
    y_plane = y.out * x.out;
    taps = y.kernel * x.kernel;
  }
  /// The input row or column that tap t of output o reads; outside [0, in) it is padding.
  static int64_t source(const ConvAxis& axis, int64_t o, int64_t t) {
    return o * axis.stride - axis.padding + t * axis.dilation;
  }
  static bool inside(const ConvAxis& axis, int64_t i) { return i >= 0 && i < axis.in; }
  /// The output that reads input i at tap t, or -1.
  static int64_t reader(const ConvAxis& axis, int64_t i, int64_t t) {
    int64_t at = i + axis.padding - t * axis.dilation;
    return at >= 0 && at % axis.stride == 0 && at / axis.stride < axis.out ? at / axis.stride : -1;
  }
  /// The first element of row h of a sample's channel, of `channels` with so many rows, in strips.
  int64_t row(int64_t n, int64_t channels, int64_t channel, int64_t rows, int64_t h, int64_t width) const {
    const int64_t own = rows / strips, strip = n * strips + h / own;
    return ((strip * channels + channel) * own + h % own) * width;
  }
};

template <class T>
T activated(T value, bool relu) {
  return relu && value < 0 ? T(0) : value;
}

template <class T>
double output(const Loops& c, const T* x, const T* weight, int64_t o, int64_t i, int64_t j) {
  double total = 0;
  for (int64_t ci = 0; ci < c.group_in; ++ci)
    for (int64_t a = 0; a < c.y.kernel; ++a)
      for (int64_t b = 0; b < c.x.kernel; ++b) {
        int64_t h = Loops::source(c.y, i, a), w = Loops::source(c.x, j, b);
        if (!Loops::inside(c.y, h) || !Loops::inside(c.x, w)) continue;
        total += static_cast<double>(x[(o / c.group_out * c.group_in + ci) * c.x_plane + h * c.x.in + w]) *
                 static_cast<double>(weight[(o * c.group_in + ci) * c.taps + a * c.x.kernel + b]);
      }
  return total;
}

template <class T>
double input_gradient(const Loops& c, const T* g, const T* weight, int64_t channel, int64_t h, int64_t w) {
  double total = 0;
  int64_t group = channel / c.group_in, ci = channel % c.group_in;
  for (int64_t o = group * c.group_out; o < (group + 1) * c.group_out; ++o)
    for (int64_t a = 0; a < c.y.kernel; ++a)
      for (int64_t b = 0; b < c.x.kernel; ++b) {
        int64_t i = Loops::reader(c.y, h, a), j = Loops::reader(c.x, w, b);
        if (i < 0 || j < 0) continue;
        total += static_cast<double>(g[o * c.y_plane + i * c.x.out + j]) *
                 static_cast<double>(weight[(o * c.group_in + ci) * c.taps + a * c.x.kernel + b]);
      }
  return total;
}

template <class T>
double weight_gradient(const Loops& c, const T* x, const T* g, int64_t o, int64_t channel, int64_t a,
                       int64_t b) {
  double total = 0;
  for (int64_t n = 0; n < c.batch; ++n)
    for (int64_t i = 0; i < c.y.out; ++i)
      for (int64_t j = 0; j < c.x.out; ++j) {
        int64_t h = Loops::source(c.y, i, a), w = Loops::source(c.x, j, b);
        if (!Loops::inside(c.y, h) || !Loops::inside(c.x, w)) continue;
        total += static_cast<double>(x[(n * c.in_channels + channel) * c.x_plane + h * c.x.in + w]) *
                 static_cast<double>(g[c.row(n, c.out_channels, o, c.y.out, i, c.x.out) + j]);
      }
  return total;
}

template <class Fn>
std::unique_ptr<PreparedKernel> with_type(DType dtype, Fn&& fn) {
  return dtype == DType::f32 ? fn(float{}) : fn(double{});
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_conv2d_reference(const KernelRequest& request) {
  Loops c(conv2d_problem(request));
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return row_call(c.batch, 1, 1, [c](const CpuArgs& args, Range samples) {
      const T* bias = c.bias ? args.in<T>(2) : nullptr;
      for (int64_t n = samples.begin; n < samples.end; ++n) {
        const T* x = args.in<T>(0) + n * c.in_channels * c.x_plane;
        T* y = args.out<T>(0) + n * c.out_channels * c.y_plane;
        for (int64_t o = 0; o < c.out_channels; ++o)
          for (int64_t i = 0; i < c.y.out; ++i)
            for (int64_t j = 0; j < c.x.out; ++j) {
              T value = static_cast<T>(output(c, x, args.in<T>(1), o, i, j));
              if (bias) value += bias[o];
              *y++ = activated(value, c.relu);
            }
      }
    });
  });
}

std::unique_ptr<PreparedKernel> prepare_conv2d_dx_reference(const KernelRequest& request) {
  const Conv2dProblem problem = conv2d_problem(request);
  Loops c(problem);
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return row_call(c.batch, problem.row_inputs(), 1, [c](const CpuArgs& args, Range samples) {
      for (int64_t n = samples.begin; n < samples.end; ++n) {
        const T* g = args.in<T>(0) + n * c.out_channels * c.y_plane;
        const T* mask = c.masked ? args.in<T>(2) + n * c.in_channels * c.x_plane : nullptr;
        for (int64_t channel = 0; channel < c.in_channels; ++channel)
          for (int64_t h = 0; h < c.y.in; ++h) {
            T* dx = args.out<T>(0) + c.row(n, c.in_channels, channel, c.y.in, h, c.x.in);
            for (int64_t w = 0; w < c.x.in; ++w) {
              dx[w] = static_cast<T>(input_gradient(c, g, args.in<T>(1), channel, h, w));
              if (mask && !(*mask++ > 0)) dx[w] = 0;
            }
          }
      }
    });
  });
}

std::unique_ptr<PreparedKernel> prepare_conv2d_dw_reference(const KernelRequest& request) {
  Loops c(conv2d_problem(request));
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    auto call = split_call(c.out_channels * c.group_in, [c](const CpuArgs& args, Range pairs) {
      T* dw = args.out<T>(0) + pairs.begin * c.taps;
      for (int64_t pair = pairs.begin; pair < pairs.end; ++pair) {
        int64_t o = pair / c.group_in, channel = o / c.group_out * c.group_in + pair % c.group_in;
        for (int64_t a = 0; a < c.y.kernel; ++a)
          for (int64_t b = 0; b < c.x.kernel; ++b)
            *dw++ = static_cast<T>(weight_gradient(c, args.in<T>(0), args.in<T>(1), o, channel, a, b));
      }
    });
    if (c.bias)
      call->phases.push_back({.run = [c](const CpuArgs& args, int64_t) {
        for (int64_t o = 0; o < c.out_channels; ++o) {
          double total = 0;
          for (int64_t n = 0; n < c.batch; ++n)
            for (int64_t i = 0; i < c.y.out; ++i)
              for (int64_t j = 0; j < c.x.out; ++j)
                total +=
                    static_cast<double>(args.in<T>(1)[c.row(n, c.out_channels, o, c.y.out, i, c.x.out) + j]);
          args.out<T>(1)[o] = static_cast<T>(total);
        }
      }});
    return call;
  });
}

}  // namespace wholestep
