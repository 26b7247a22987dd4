// Convolutions and their gradients against plain f64 loops over awkward shapes, and the same bits however the
// samples are spread.
#include "wholestep/backend/cpu/conv.h"

#include <gtest/gtest.h>

#include <ostream>

#include "backend/kernel_test_support.h"
#include "wholestep/backend/cpu/thread_pool.h"

namespace wholestep {
namespace {

struct Shape2d {
  int64_t channels, height, width;
};

// A convolution with random operands, and the four loops that define it.
struct Case {
  Conv2d conv;
  int64_t samples;
  std::vector<float> x, weight, bias, dy;
  std::string text;
};

ConvAxis axis(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  ConvAxis a = {
      .in = in, .out = 1, .kernel = kernel, .stride = stride, .padding = padding, .dilation = dilation};
  a.out = conv_outputs(a);
  return a;
}

Case make_case(const Conv2d& conv, int64_t samples, uint64_t seed) {
  const int64_t group_in = conv.in_channels / conv.groups;
  auto of = [](const ConvAxis& a) {
    return testing::PrintToString(std::vector{a.in, a.out, a.kernel, a.stride, a.padding, a.dilation});
  };
  return {
      .conv = conv,
      .samples = samples,
      .x = random_floats(samples * conv.in_channels * conv.y.in * conv.x.in, seed),
      .weight = random_floats(conv.out_channels * group_in * conv.y.kernel * conv.x.kernel, seed + 1),
      .bias = random_floats(conv.out_channels, seed + 2),
      .dy = random_floats(samples * conv.out_channels * conv.y.out * conv.x.out, seed + 3),
      .text = testing::PrintToString(std::vector{samples, conv.in_channels, conv.out_channels, conv.groups}) +
              " y " + of(conv.y) + " x " + of(conv.x)};
}

// Calls fn(sample, co, ci, x index, weight index, y index) for every product of the convolution.
template <class Fn>
void for_each_product(const Case& c, Fn fn) {
  const Conv2d& v = c.conv;
  const int64_t group_in = v.in_channels / v.groups, group_out = v.out_channels / v.groups;
  for (int64_t n = 0; n < c.samples; ++n)
    for (int64_t co = 0; co < v.out_channels; ++co)
      for (int64_t oy = 0; oy < v.y.out; ++oy)
        for (int64_t ox = 0; ox < v.x.out; ++ox)
          for (int64_t ci = 0; ci < group_in; ++ci)
            for (int64_t ky = 0; ky < v.y.kernel; ++ky)
              for (int64_t kx = 0; kx < v.x.kernel; ++kx) {
                int64_t iy = oy * v.y.stride - v.y.padding + ky * v.y.dilation;
                int64_t ix = ox * v.x.stride - v.x.padding + kx * v.x.dilation;
                if (iy < 0 || iy >= v.y.in || ix < 0 || ix >= v.x.in) continue;
                int64_t channel = co / group_out * group_in + ci;
                fn(static_cast<size_t>(((n * v.in_channels + channel) * v.y.in + iy) * v.x.in + ix),
                   static_cast<size_t>(((co * group_in + ci) * v.y.kernel + ky) * v.x.kernel + kx),
                   static_cast<size_t>(((n * v.out_channels + co) * v.y.out + oy) * v.x.out + ox));
              }
}

// Sums in f64 beside the sum of magnitudes and the number of terms, which bound the error of f32.
struct Exact {
  explicit Exact(size_t count) : sum(count), magnitude(count), terms(count) {}
  void add(size_t i, double term) {
    sum[i] += term;
    magnitude[i] += std::abs(term);
    ++terms[i];
  }
  std::vector<double> sum, magnitude;
  std::vector<int64_t> terms;
};

void expect_close(const std::vector<float>& got, const Exact& exact, const std::string& text) {
  ASSERT_EQ(got.size(), exact.sum.size());
  for (size_t i = 0; i < got.size(); ++i) {
    double bound = error_bound(std::max<int64_t>(1, exact.terms[i]), exact.magnitude[i]);
    ASSERT_LE(std::abs(got[i] - exact.sum[i]), bound) << text << " element " << i << " got " << got[i];
  }
}

Exact exact_forward(const Case& c) {
  Exact exact(c.dy.size());
  for_each_product(c, [&](size_t x, size_t w, size_t y) { exact.add(y, double{c.x[x]} * c.weight[w]); });
  return exact;
}
Exact exact_input_gradient(const Case& c) {
  Exact exact(c.x.size());
  for_each_product(c, [&](size_t x, size_t w, size_t y) { exact.add(x, double{c.dy[y]} * c.weight[w]); });
  return exact;
}
Exact exact_weight_gradient(const Case& c) {
  Exact exact(c.weight.size());
  for_each_product(c, [&](size_t x, size_t w, size_t y) { exact.add(w, double{c.dy[y]} * c.x[x]); });
  return exact;
}
Exact exact_bias_gradient(const Case& c) {
  Exact exact(c.bias.size());
  const size_t plane = static_cast<size_t>(c.conv.y.out * c.conv.x.out);
  for (size_t i = 0; i < c.dy.size(); ++i) exact.add(i / plane % c.bias.size(), c.dy[i]);
  return exact;
}

// Runs a kernel over the samples in chunks of `chunk`, each into poisoned scratch memory.
template <class Call>
void in_chunks(int64_t samples, int64_t chunk, int threads, int64_t workspace_bytes, Call call) {
  ThreadPool pool(threads);
  std::vector<Workspace> workspaces;
  for (int i = 0; i < threads; ++i) workspaces.emplace_back(workspace_bytes);
  pool.run((samples + chunk - 1) / chunk, [&](int64_t i) {
    Workspace& workspace = workspaces[static_cast<size_t>(pool.slot())];
    workspace.poison();
    call(SampleRange{i * chunk, std::min(samples, (i + 1) * chunk)}, workspace.data());
    EXPECT_TRUE(workspace.fence_is_intact());
  });
}

std::vector<float> forward(const Case& c, const KernelSet& set, bool bias, bool relu, int64_t chunk,
                           int threads = 1) {
  std::vector<float> y(c.dy.size(), kNaN);
  ConvForward operands = {c.x.data(), c.weight.data(), bias ? c.bias.data() : nullptr, y.data(), relu};
  in_chunks(c.samples, chunk, threads, set.kernels().conv_forward_workspace_bytes(c.conv),
            [&](SampleRange range, void* workspace) {
              set.kernels().conv_forward(c.conv, operands, range, workspace);
            });
  return y;
}

std::vector<float> input_gradient(const Case& c, const KernelSet& set, int64_t chunk, int threads = 1) {
  std::vector<float> dx(c.x.size(), kNaN);
  ConvInputGradient operands = {c.dy.data(), c.weight.data(), dx.data()};
  in_chunks(c.samples, chunk, threads, set.kernels().conv_input_gradient_workspace_bytes(c.conv),
            [&](SampleRange range, void* workspace) {
              set.kernels().conv_input_gradient(c.conv, operands, range, workspace);
            });
  return dx;
}

struct WeightGradient {
  std::vector<float> dweight, dbias;
};

// Chunks of samples into buffers of their own, [weights, bias], then added up.
WeightGradient weight_gradient(const Case& c, const KernelSet& set, int64_t chunk, int threads = 1) {
  const size_t weights = c.weight.size(), floats = weights + c.bias.size();
  const int64_t chunks = (c.samples + chunk - 1) / chunk;
  std::vector<float> buffers(static_cast<size_t>(chunks) * floats, kNaN), total(floats, kNaN);
  in_chunks(c.samples, chunk, threads, set.kernels().conv_weight_gradient_workspace_bytes(c.conv),
            [&](SampleRange range, void* workspace) {
              float* buffer = buffers.data() + static_cast<size_t>(range.begin / chunk) * floats;
              ConvWeightGradient operands = {c.x.data(), c.dy.data(), buffer, buffer + weights};
              set.kernels().conv_weight_gradient(c.conv, operands, range, workspace);
            });
  const int64_t half = static_cast<int64_t>(floats) / 2, all = static_cast<int64_t>(floats);
  set.kernels().sum_chunks(buffers.data(), chunks, all, half, all, total.data());
  set.kernels().sum_chunks(buffers.data(), chunks, all, 0, half, total.data());
  const auto middle = total.begin() + static_cast<std::ptrdiff_t>(weights);
  return {{total.begin(), middle}, {middle, total.end()}};
}

std::vector<Case> awkward_cases() {
  std::vector<Case> cases;
  uint64_t seed = 1;
  auto add = [&](int64_t samples, int64_t ci, int64_t co, int64_t groups, ConvAxis y, ConvAxis x) {
    if (y.out < 1 || x.out < 1) return;
    cases.push_back(
        make_case({.in_channels = ci, .out_channels = co, .groups = groups, .y = y, .x = x}, samples, seed));
    seed += 7;
  };
  // One pixel, one channel, primes, tails; the shape of a trap; the shapes of training in small.
  add(1, 1, 1, 1, axis(1, 1, 1, 0, 1), axis(1, 1, 1, 0, 1));
  add(2, 3, 5, 1, axis(7, 3, 2, 1, 1), axis(9, 3, 2, 1, 1));
  add(2, 1, 6, 1, axis(28, 5, 1, 2, 1), axis(28, 5, 1, 2, 1));
  add(2, 6, 16, 1, axis(14, 5, 1, 0, 1), axis(14, 5, 1, 0, 1));
  add(1, 3, 8, 1, axis(32, 3, 1, 1, 1), axis(32, 3, 1, 1, 1));
  add(1, 8, 16, 1, axis(32, 3, 2, 1, 1), axis(32, 3, 2, 1, 1));
  add(1, 32, 33, 1, axis(17, 3, 1, 1, 1), axis(16, 3, 1, 1, 1));
  add(1, 5, 47, 1, axis(6, 1, 1, 0, 1), axis(5, 1, 1, 0, 1));
  // Groups and depthwise.
  add(2, 6, 4, 2, axis(9, 3, 1, 1, 1), axis(8, 2, 1, 1, 1));
  add(1, 7, 7, 7, axis(10, 3, 2, 1, 1), axis(33, 3, 2, 1, 1));
  add(1, 34, 68, 2, axis(5, 3, 1, 1, 1), axis(4, 3, 2, 1, 1));
  // A phase of the input gradient with two thirds of the taps, and more outputs than all of them are given at
  // a time.
  add(1, 2, 128, 1, axis(40, 3, 2, 1, 1), axis(40, 1, 1, 0, 1));
  // Every mixture of kernel, stride, padding and dilation on the two axes, also more padding than kernel.
  for (int64_t kernel : {1, 2, 3, 5, 7})
    for (int64_t stride : {1, 2, 3, 5})
      for (int64_t padding : {0, 1, 4})
        for (int64_t dilation : {1, 2, 3}) {
          int64_t other_kernel = 1 + (kernel * stride + padding) % 4,
                  other_stride = 1 + (kernel + padding + dilation) % 3;
          add(1 + kernel % 2, 2, 3, 1, axis(19, kernel, stride, padding, dilation),
              axis(13, other_kernel, other_stride, padding % 3, dilation));
          add(1, 3, 2, 1, axis(6, other_kernel, other_stride, dilation, 1),
              axis(37, kernel, stride, padding, dilation));
        }
  return cases;
}

/// For kernels that round their operands, operands that are rounded already: then the same loops judge them.
std::vector<Case> rounded(std::vector<Case> cases) {
  for (Case& c : cases)
    for (std::vector<float>* operand : {&c.x, &c.weight, &c.dy}) *operand = as_bf16(std::move(*operand));
  return cases;
}

class ConvOnEveryIsa : public testing::TestWithParam<KernelSet> {
 protected:
  const std::vector<Case>& all_cases() const {
    static const std::vector<Case> cases = awkward_cases(), of_bf16 = rounded(cases);
    return GetParam().bf16 ? of_bf16 : cases;
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, ConvOnEveryIsa, testing::ValuesIn(all_kernel_sets()),
                         [](const auto& param) { return param.param.name(); });

TEST_P(ConvOnEveryIsa, T22ForwardAgreesWithPlainLoopsOverAwkwardShapes) {
  for (const Case& c : all_cases())
    expect_close(forward(c, GetParam(), false, false, c.samples), exact_forward(c), c.text);
}

TEST_P(ConvOnEveryIsa, T40InputGradientAgreesWithPlainLoopsOverAwkwardShapes) {
  for (const Case& c : all_cases())
    expect_close(input_gradient(c, GetParam(), c.samples), exact_input_gradient(c), c.text);
}

TEST_P(ConvOnEveryIsa, T74WeightAndBiasGradientsAgreeWithPlainLoopsOverAwkwardShapes) {
  for (const Case& c : all_cases()) {
    WeightGradient got = weight_gradient(c, GetParam(), c.samples);
    expect_close(got.dweight, exact_weight_gradient(c), c.text);
    expect_close(got.dbias, exact_bias_gradient(c), c.text);
    expect_close(weight_gradient(c, GetParam(), 1).dweight, exact_weight_gradient(c),
                 c.text + " sample by sample");
  }
}

TEST_P(ConvOnEveryIsa, WeightGradientOfNoSamplesIsZero) {
  Conv2d conv = {
      .in_channels = 2, .out_channels = 3, .groups = 1, .y = axis(5, 3, 1, 1, 1), .x = axis(5, 3, 1, 1, 1)};
  Case c = make_case(conv, 1, 3);
  std::vector<float> dweight(c.weight.size(), kNaN), dbias(c.bias.size(), kNaN);
  Workspace workspace(GetParam().kernels().conv_weight_gradient_workspace_bytes(conv));
  GetParam().kernels().conv_weight_gradient(conv, {c.x.data(), c.dy.data(), dweight.data(), dbias.data()},
                                            {1, 1}, workspace.data());
  EXPECT_EQ(dweight, std::vector<float>(c.weight.size(), 0.f));
  EXPECT_EQ(dbias, std::vector<float>(c.bias.size(), 0.f));
}

// T53: what is called bf16 is.
TEST_P(ConvOnEveryIsa, OperandsAreRoundedToBf16OrNotAtAll) {
  Conv2d conv = {
      .in_channels = 6, .out_channels = 7, .groups = 1, .y = axis(9, 3, 1, 1, 1), .x = axis(17, 3, 1, 1, 1)};
  const Case c = make_case(conv, 2, 5), of_bf16 = rounded({c})[0];
  auto all = [&](const Case& operands) {
    return std::vector{forward(operands, GetParam(), true, false, 2), input_gradient(operands, GetParam(), 2),
                       weight_gradient(operands, GetParam(), 2).dweight};
  };
  const auto exact = all(c), of_rounded = all(of_bf16);
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_EQ(same_bits(exact[i], of_rounded[i]), GetParam().bf16);
}

TEST_P(ConvOnEveryIsa, T23BiasAndReluEqualTheSeparateOperationsBitForBit) {
  for (const Case& c : all_cases()) {
    std::vector<float> expected = forward(c, GetParam(), false, false, c.samples);
    const size_t plane = static_cast<size_t>(c.conv.y.out * c.conv.x.out);
    for (size_t i = 0; i < expected.size(); ++i) {
      expected[i] += c.bias[i / plane % static_cast<size_t>(c.conv.out_channels)];
      if (expected[i] < 0) expected[i] = 0;
    }
    ASSERT_TRUE(same_bits(forward(c, GetParam(), true, true, c.samples), expected)) << c.text;
  }
}

TEST_P(ConvOnEveryIsa, T44GivesTheSameBitsForEveryChunkingAndThreadCount) {
  Conv2d conv = {.in_channels = 3,
                 .out_channels = 10,
                 .groups = 1,
                 .y = axis(13, 3, 2, 1, 1),
                 .x = axis(21, 3, 2, 1, 1)};
  Case c = make_case(conv, 7, 3);
  std::vector<float> y = forward(c, GetParam(), true, true, 7), dx = input_gradient(c, GetParam(), 7);
  for (int64_t chunk : {1, 2, 3}) {
    for (int threads : {1, 3}) {
      EXPECT_TRUE(same_bits(forward(c, GetParam(), true, true, chunk, threads), y));
      EXPECT_TRUE(same_bits(input_gradient(c, GetParam(), chunk, threads), dx));
    }
    // The chunks are part of how a weight gradient is summed; who computes them is not.
    WeightGradient alone = weight_gradient(c, GetParam(), chunk),
                   together = weight_gradient(c, GetParam(), chunk, 3);
    EXPECT_TRUE(same_bits(alone.dweight, together.dweight));
    EXPECT_TRUE(same_bits(alone.dbias, together.dbias));
  }
}

}  // namespace
}  // namespace wholestep
