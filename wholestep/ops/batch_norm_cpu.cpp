// Batch normalisation in two phases of rows: every chunk of samples sums up what it has, then every chunk
// adds up the sums of all, always in the same order, and transforms its samples. One barrier lies between.
#include "wholestep/ops/batch_norm_cpu.h"

#include <cmath>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/ops/batch_norm_loops.h"

namespace wholestep {

template <>
const BatchNormLoops<float>& batch_norm_loops<float>() {
  return WHOLESTEP_OF_ACTIVE_ISA(kBatchNormLoopsF32);
}
template <>
const BatchNormLoops<double>& batch_norm_loops<double>() {
  return WHOLESTEP_OF_ACTIVE_ISA(kBatchNormLoopsF64);
}

namespace {

/// x [batch, channels, run].
struct Problem {
  int64_t batch, channels, run;
  double eps;
  Split split{0};

  explicit Problem(const KernelRequest& request)
      : batch(request.inputs[0].shape[0]),
        channels(request.inputs[0].shape[1]),
        run(request.inputs[0].shape.numel() / (batch * channels)),
        eps(request.attrs.number("eps")),
        split(batch) {}

  double elements() const { return static_cast<double>(batch * run); }
  /// Two f64 sums for every chunk and channel.
  int64_t workspace_bytes() const { return split.chunks() * channels * 2 * int64_t{sizeof(double)}; }
  double* sums(const CpuArgs& args, int64_t chunk, int64_t channel) const {
    return reinterpret_cast<double*>(args.workspace) + (chunk * channels + channel) * 2;
  }
  template <class T>
  double inverse_deviation(T var) const {
    return 1 / std::sqrt(static_cast<double>(var) + eps);
  }
};

/// Mean and sum of squared deviations of a set of numbers, joined as Chan, Golub & LeVeque (1979) do.
struct Moments {
  double count = 0, mean = 0, squares = 0;
  void join(double other_count, double other_mean, double other_squares) {
    double total = count + other_count, distance = other_mean - mean;
    mean += distance * (other_count / total);
    squares += other_squares + distance * distance * (count * other_count / total);
    count = total;
  }
};

std::unique_ptr<CpuCall> two_row_phases(const Problem& p, uint64_t row_inputs,
                                        std::function<void(const CpuArgs&, int64_t)> collect,
                                        std::function<void(const CpuArgs&, int64_t)> transform) {
  auto call = std::make_unique<CpuCall>();
  call->workspace_bytes = p.workspace_bytes();
  CpuPhase phase = {.chunks = p.split.chunks(), .rows = p.batch, .row_inputs = row_inputs};
  phase.run = std::move(collect);
  call->phases.push_back(phase);
  phase.row_outputs = 1;  // the other results are written whole, by chunk 0
  phase.run = std::move(transform);
  call->phases.push_back(phase);
  return call;
}

/// Per chunk and channel: mean and squared deviations, from sums shifted by the chunk's first element, which
/// keeps them exact where the mean is much larger than the deviation.
template <class T>
void collect_moments(const Problem& p, const CpuArgs& args, int64_t chunk) {
  Range samples = p.split[chunk];
  for (int64_t c = 0; c < p.channels; ++c) {
    const T* x = args.in<T>(0) + c * p.run;
    double shift = static_cast<double>(x[samples.begin * p.channels * p.run]), sums[2] = {};
    for (int64_t n = samples.begin; n < samples.end; ++n)
      batch_norm_loops<T>().moments(x + n * p.channels * p.run, p.run, shift, sums);
    double count = static_cast<double>(samples.size() * p.run);
    p.sums(args, chunk, c)[0] = shift + sums[0] / count;
    p.sums(args, chunk, c)[1] = sums[1] - sums[0] * (sums[0] / count);
  }
}

template <class T>
void normalize(const Problem& p, const CpuArgs& args, int64_t chunk) {
  Range samples = p.split[chunk];
  for (int64_t c = 0; c < p.channels; ++c) {
    Moments moments;
    for (int64_t other = 0; other < p.split.chunks(); ++other)
      moments.join(static_cast<double>(p.split[other].size() * p.run), p.sums(args, other, c)[0],
                   p.sums(args, other, c)[1]);
    T mean = static_cast<T>(moments.mean), var = static_cast<T>(moments.squares / moments.count);
    if (chunk == 0) args.out<T>(1)[c] = mean, args.out<T>(2)[c] = var;
    T scale = static_cast<T>(static_cast<double>(args.in<T>(1)[c]) * p.inverse_deviation(var));
    for (int64_t n = samples.begin; n < samples.end; ++n) {
      int64_t at = (n * p.channels + c) * p.run;
      batch_norm_loops<T>().normalize(args.in<T>(0) + at, p.run, mean, scale, args.in<T>(2)[c],
                                      args.out<T>(0) + at);
    }
  }
}

// Operands of the gradient: x, gamma, mean, var, g.
template <class T>
void collect_products(const Problem& p, const CpuArgs& args, int64_t chunk) {
  Range samples = p.split[chunk];
  for (int64_t c = 0; c < p.channels; ++c) {
    double* sums = p.sums(args, chunk, c);
    sums[0] = sums[1] = 0;
    for (int64_t n = samples.begin; n < samples.end; ++n) {
      int64_t at = (n * p.channels + c) * p.run;
      batch_norm_loops<T>().products(args.in<T>(4) + at, args.in<T>(0) + at, p.run,
                                     static_cast<double>(args.in<T>(2)[c]), sums);
    }
  }
}

/// dx = gamma s (g - B / m - n G / m) with n = (x - mean) s, B = sum g, G = sum g n.
template <class T>
void gradient(const Problem& p, const CpuArgs& args, int64_t chunk) {
  Range samples = p.split[chunk];
  for (int64_t c = 0; c < p.channels; ++c) {
    double g_sum = 0, product_sum = 0, s = p.inverse_deviation(args.in<T>(3)[c]);
    for (int64_t other = 0; other < p.split.chunks(); ++other) {
      g_sum += p.sums(args, other, c)[0];
      product_sum += p.sums(args, other, c)[1];
    }
    if (chunk == 0) {
      args.out<T>(1)[c] = static_cast<T>(product_sum * s);
      args.out<T>(2)[c] = static_cast<T>(g_sum);
    }
    T offset = static_cast<T>(g_sum / p.elements()),
      slope = static_cast<T>(product_sum * s * s / p.elements()),
      scale = static_cast<T>(static_cast<double>(args.in<T>(1)[c]) * s);
    for (int64_t n = samples.begin; n < samples.end; ++n) {
      int64_t at = (n * p.channels + c) * p.run;
      batch_norm_loops<T>().gradient(args.in<T>(4) + at, args.in<T>(0) + at, p.run, args.in<T>(2)[c], offset,
                                     slope, scale, args.out<T>(0) + at);
    }
  }
}

template <class Fn>
std::unique_ptr<PreparedKernel> with_type(DType dtype, Fn&& fn) {
  return dtype == DType::f32 ? fn(float{}) : fn(double{});
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_batch_norm(const KernelRequest& request) {
  Problem p(request);
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return two_row_phases(
        p, 1, [p](const CpuArgs& args, int64_t chunk) { collect_moments<T>(p, args, chunk); },
        [p](const CpuArgs& args, int64_t chunk) { normalize<T>(p, args, chunk); });
  });
}

std::unique_ptr<PreparedKernel> prepare_batch_norm_dx(const KernelRequest& request) {
  Problem p(request);
  return with_type(request.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    return two_row_phases(
        p, 1 | 1 << 4, [p](const CpuArgs& args, int64_t chunk) { collect_products<T>(p, args, chunk); },
        [p](const CpuArgs& args, int64_t chunk) { gradient<T>(p, args, chunk); });
  });
}

}  // namespace wholestep
