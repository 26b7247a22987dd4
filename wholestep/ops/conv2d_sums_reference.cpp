// Sums over convolutions as plain loops in f64: what the fast kernels are compared with.
#include "wholestep/ops/conv2d_sums.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

template <class T>
struct Sums {
  Conv2d c;
  int64_t taps;
  bool bias;
  T scale;

  /// Calls use(tap, element of x) for those inside x under a window.
  template <class Use>
  void each_tap(const T* x, int64_t i, int64_t j, Use use) const {
    int64_t tap = 0;
    for (int64_t ci = 0; ci < c.in_channels; ++ci)
      for (int64_t a = 0; a < c.y.kernel; ++a)
        for (int64_t b = 0; b < c.x.kernel; ++b, ++tap) {
          int64_t h = i * c.y.stride - c.y.padding + a * c.y.dilation,
                  w = j * c.x.stride - c.x.padding + b * c.x.dilation;
          if (h >= 0 && h < c.y.in && w >= 0 && w < c.x.in)
            use(tap, static_cast<double>(x[(ci * c.y.in + h) * c.x.in + w]));
        }
  }

  void run(const CpuArgs& args, const T* x, int64_t n) const {
    std::vector<double> patches(static_cast<size_t>(taps));
    for (int64_t o = 0; o < c.out_channels; ++o) {
      const T* weight = args.in<T>(1) + o * taps;
      const int64_t at = n * c.out_channels + o;
      double total = 0;
      int64_t positive = 0;
      std::ranges::fill(patches, 0.0);
      for (int64_t i = 0; i < c.y.out; ++i)
        for (int64_t j = 0; j < c.x.out; ++j) {
          double y = bias ? static_cast<double>(args.in<T>(2)[o]) : 0;
          each_tap(x, i, j,
                   [&](int64_t tap, double value) { y += value * static_cast<double>(weight[tap]); });
          total += y < 0 ? 0 : y;
          if (!(y > 0)) continue;
          ++positive;
          each_tap(x, i, j, [&](int64_t tap, double value) { patches[static_cast<size_t>(tap)] += value; });
        }
      args.out<T>(0)[at] = static_cast<T>(total) * scale;
      for (int64_t tap = 0; tap < taps; ++tap)
        args.out<T>(1)[at * taps + tap] = static_cast<T>(patches[static_cast<size_t>(tap)]);
      args.out<T>(2)[at] = static_cast<T>(positive);
    }
  }
};

template <class T>
std::unique_ptr<PreparedKernel> sums_call(const KernelRequest& request) {
  const Conv2dProblem p = conv2d_sums_problem(request);
  const Sums<T> sums{p.conv, p.conv.in_channels * p.conv.y.kernel * p.conv.x.kernel, p.bias,
                     static_cast<T>(scale_of(request.attrs))};
  const int64_t sample = p.conv.in_channels * p.conv.y.in * p.conv.x.in;
  const ProgrammedInput input(request);
  auto call = row_call(p.batch, 1, 7, [sums, sample, input](const CpuArgs& args, Range samples) {
    const T* x = input.samples<T>(args, samples);
    for (int64_t n = samples.begin; n < samples.end; ++n) sums.run(args, x + n * sample, n);
  });
  call->workspace_bytes = input.workspace_bytes();
  return call;
}

template <class T>
std::unique_ptr<PreparedKernel> sums_dw_call(const KernelRequest& request) {
  const Shape& patches = request.inputs[0].shape;
  const int64_t samples = patches[0], channels = patches[1], taps = patches[2] * patches[3] * patches[4];
  const bool bias = request.attrs.has("bias");
  const T scale = static_cast<T>(scale_of(request.attrs));
  return split_call(channels, [=](const CpuArgs& args, Range range) {
    for (int64_t o = range.begin; o < range.end; ++o) {
      auto total = [&](const T* of, int64_t width, int64_t at) {
        double sum = 0;
        for (int64_t n = 0; n < samples; ++n)
          sum += static_cast<double>(of[(n * channels + o) * width + at]) *
                 static_cast<double>(args.in<T>(2)[n * channels + o] * scale);
        return static_cast<T>(sum);
      };
      for (int64_t tap = 0; tap < taps; ++tap)
        args.out<T>(0)[o * taps + tap] = total(args.in<T>(0), taps, tap);
      if (bias) args.out<T>(1)[o] = total(args.in<T>(1), 1, 0);
    }
  });
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_conv2d_sums_reference(const KernelRequest& request) {
  return request.inputs[1].dtype == DType::f32 ? sums_call<float>(request) : sums_call<double>(request);
}
std::unique_ptr<PreparedKernel> prepare_conv2d_sums_dw_reference(const KernelRequest& request) {
  return request.inputs[0].dtype == DType::f32 ? sums_dw_call<float>(request) : sums_dw_call<double>(request);
}

}  // namespace wholestep
