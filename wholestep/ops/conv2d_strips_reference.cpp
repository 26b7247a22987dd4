// Convolutions in strips as plain loops in f64: what the fast kernels are compared with.
#include "wholestep/ops/conv2d_strips.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

template <class T>
struct Loops {
  Conv2dStrips s;

  /// Row h, column j of channel o of a strip.
  T pixel(const CpuArgs& args, const T* x, int64_t sample, int64_t strip, int64_t o, int64_t h,
          int64_t j) const {
    const Conv2d& c = s.problem.conv;
    const int64_t part = s.whole ? sample : sample * s.strips + strip;
    double total = s.problem.bias ? static_cast<double>(args.in<T>(2)[o]) : 0;
    for (int64_t ci = 0; ci < c.in_channels; ++ci)
      for (int64_t a = 0; a < c.y.kernel; ++a)
        for (int64_t b = 0; b < c.x.kernel; ++b) {
          const int64_t row = strip * s.x_step + s.x_first + h * c.y.stride + a * c.y.dilation,
                        column = j * c.x.stride - c.x.padding + b * c.x.dilation;
          if (row < 0 || row >= c.y.in || column < 0 || column >= c.x.in) continue;
          total += static_cast<double>(x[((part * c.in_channels + ci) * c.y.in + row) * c.x.in + column]) *
                   static_cast<double>(
                       args.in<T>(1)[((o * c.in_channels + ci) * c.y.kernel + a) * c.x.kernel + b]);
        }
    return static_cast<T>(s.problem.relu && total < 0 ? 0.0 : total);
  }

  void run(const CpuArgs& args, const T* x, int64_t sample) const {
    const Conv2d& c = s.problem.conv;
    const int64_t height = s.strips * s.rows;
    for (int64_t strip = 0; strip < s.strips; ++strip)
      for (int64_t o = 0; o < c.out_channels; ++o)
        for (int64_t h = 0; h < c.y.out; ++h) {
          const int64_t own = h + s.first, row = strip * s.rows + own;
          for (int64_t j = 0; j < c.x.out; ++j) {
            const T value = pixel(args, x, sample, strip, o, h, j);
            if (own >= 0 && own < s.rows)
              args.out<T>(0)[((sample * c.out_channels + o) * height + row) * c.x.out + j] = value;
            if (s.kept) {
              const int64_t channel = (sample * s.strips + strip) * c.out_channels + o;
              args.out<T>(1)[(channel * c.y.out + h) * c.x.out + j] = row >= 0 && row < height ? value : T(0);
            }
          }
        }
  }
};

template <class T>
std::unique_ptr<PreparedKernel> strips_call(const KernelRequest& request) {
  const Loops<T> loops{conv2d_strips(request)};
  const ProgrammedInput input(request);
  auto call = split_call(loops.s.samples, [loops, input](const CpuArgs& args, Range samples) {
    const T* x = input.samples<T>(args, samples);
    for (int64_t n = samples.begin; n < samples.end; ++n) loops.run(args, x, n);
  });
  call->workspace_bytes = input.workspace_bytes();
  return call;
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_conv2d_strips_reference(const KernelRequest& request) {
  return request.outputs[0].dtype == DType::f32 ? strips_call<float>(request) : strips_call<double>(request);
}

}  // namespace wholestep
