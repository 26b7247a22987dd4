// Convolutions on one core: ours by instruction set, and oneDNN both on plain NCHW memory and on layouts of
// its own choice, whose reorders are not counted.
#include <benchmark/benchmark.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>

#include "bench_support.h"
#include "wholestep/backend/cpu/kernels.h"

namespace wholestep {
namespace {

enum class Pass { kForward, kInputGradient, kWeightGradient };

struct Named {
  const char* name;
  Conv2d conv;
};

ConvAxis axis(int64_t in, int64_t kernel, int64_t stride, int64_t padding) {
  ConvAxis a = {.in = in, .kernel = kernel, .stride = stride, .padding = padding};
  a.out = conv_outputs(a);
  return a;
}
Conv2d square(int64_t ci, int64_t co, const ConvAxis& a) {
  return {.in_channels = ci, .out_channels = co, .groups = 1, .y = a, .x = a};
}

const Named kShapes[] = {
    {"W1 3>8 3x3 on 32", square(3, 8, axis(32, 3, 1, 1))},
    {"W2 1>6 5x5 on 28", square(1, 6, axis(28, 5, 1, 2))},
    {"W2 6>16 5x5 on 14", square(6, 16, axis(14, 5, 1, 0))},
    {"W4s 3>8 3x3 s2 on 64", square(3, 8, axis(64, 3, 2, 1))},
    {"W4s 8>16 3x3 s2 on 32", square(8, 16, axis(32, 3, 2, 1))},
    {"W4s 16>32 3x3 s2 on 16", square(16, 32, axis(16, 3, 2, 1))},
    {"W4 3>16 3x3 on 64", square(3, 16, axis(64, 3, 1, 1))},
    {"W4 16>32 3x3 on 64", square(16, 32, axis(64, 3, 1, 1))},
    {"W4 32>64 3x3 on 64", square(32, 64, axis(64, 3, 1, 1))},
    {"1x1 64>64 on 14", square(64, 64, axis(14, 1, 1, 0))},
    {"128>128 3x3 on 7", square(128, 128, axis(7, 3, 1, 1))},
};
constexpr int64_t kSamples = 16;

size_t weights(const Conv2d& c) {
  return static_cast<size_t>(c.out_channels * c.in_channels / c.groups * c.y.kernel * c.x.kernel);
}

void report(benchmark::State& state, const Conv2d& c) {
  double products = static_cast<double>(kSamples * c.y.out * c.x.out) * static_cast<double>(weights(c));
  state.counters["GFLOP/s"] =
      benchmark::Counter(2e-9 * products, benchmark::Counter::kIsIterationInvariantRate);
}

void run_ours(benchmark::State& state, const Conv2d& c, Pass pass, Isa isa) {
  std::vector<float> x = random_floats(kSamples * c.in_channels * c.y.in * c.x.in, 1);
  std::vector<float> y = random_floats(kSamples * c.out_channels * c.y.out * c.x.out, 2);
  std::vector<float> weight = random_floats(static_cast<int64_t>(weights(c)), 3),
                     bias = random_floats(c.out_channels, 4);
  const CpuKernels& kernels = kernels_of(isa);
  std::vector<float> memory(static_cast<size_t>(std::max({kernels.conv_forward_workspace_bytes(c),
                                                          kernels.conv_input_gradient_workspace_bytes(c),
                                                          kernels.conv_weight_gradient_workspace_bytes(c)})) /
                                sizeof(float) +
                            16);
  auto address = reinterpret_cast<uintptr_t>(memory.data());
  float* scratch = memory.data() + (64 - address % 64) % 64 / sizeof(float);
  for (auto _ : state) {
    switch (pass) {
      case Pass::kForward:
        kernels.conv_forward(c, {x.data(), weight.data(), bias.data(), y.data(), true}, {0, kSamples},
                             scratch);
        break;
      case Pass::kInputGradient:
        kernels.conv_input_gradient(c, {y.data(), weight.data(), x.data()}, {0, kSamples}, scratch);
        break;
      case Pass::kWeightGradient:
        kernels.conv_weight_gradient(c, {x.data(), y.data(), weight.data(), bias.data()}, {0, kSamples},
                                     scratch);
        break;
    }
    benchmark::ClobberMemory();
  }
  report(state, c);
}

using Tag = dnnl::memory::format_tag;
dnnl::memory::desc desc(const dnnl::memory::dims& dims, Tag tag) {
  return {dims, dnnl::memory::data_type::f32, tag};
}

dnnl::memory filled(const dnnl::memory::desc& d, const dnnl::engine& engine) {
  dnnl::memory memory(d, engine);
  std::vector<float> values = random_floats(static_cast<int64_t>(d.get_size() / sizeof(float)), 5);
  std::copy(values.begin(), values.end(), static_cast<float*>(memory.get_data_handle()));
  return memory;
}

void run_onednn(benchmark::State& state, const Conv2d& c, Pass pass, bool plain) {
  hold_onednn_to_one_thread();
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const Tag tag = plain ? Tag::nchw : Tag::any;
  auto x = desc({kSamples, c.in_channels, c.y.in, c.x.in}, tag),
       y = desc({kSamples, c.out_channels, c.y.out, c.x.out}, tag);
  auto w = desc({c.out_channels, c.in_channels, c.y.kernel, c.x.kernel}, Tag::any),
       b = desc({c.out_channels}, Tag::a);
  const dnnl::memory::dims strides = {c.y.stride, c.x.stride}, padding = {c.y.padding, c.x.padding};
  const auto algorithm = dnnl::algorithm::convolution_direct;
  dnnl::primitive_attr relu;
  dnnl::post_ops post;
  post.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
  relu.set_post_ops(post);
  dnnl::convolution_forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, algorithm, x, w, b, y, strides, padding, padding}, relu, engine);
  dnnl::primitive primitive(forward);
  std::unordered_map<int, dnnl::memory> arguments;
  switch (pass) {
    case Pass::kForward:
      arguments = {{DNNL_ARG_SRC, filled(forward.src_desc(), engine)},
                   {DNNL_ARG_WEIGHTS, filled(forward.weights_desc(), engine)},
                   {DNNL_ARG_BIAS, filled(forward.bias_desc(), engine)},
                   {DNNL_ARG_DST, filled(forward.dst_desc(), engine)}};
      break;
    case Pass::kInputGradient: {
      dnnl::convolution_backward_data::primitive_desc p({algorithm, x, w, y, strides, padding, padding},
                                                        engine, forward);
      primitive = dnnl::convolution_backward_data(p);
      arguments = {{DNNL_ARG_DIFF_SRC, filled(p.diff_src_desc(), engine)},
                   {DNNL_ARG_WEIGHTS, filled(p.weights_desc(), engine)},
                   {DNNL_ARG_DIFF_DST, filled(p.diff_dst_desc(), engine)}};
      break;
    }
    case Pass::kWeightGradient: {
      dnnl::convolution_backward_weights::primitive_desc p({algorithm, x, w, b, y, strides, padding, padding},
                                                           engine, forward);
      primitive = dnnl::convolution_backward_weights(p);
      arguments = {{DNNL_ARG_SRC, filled(p.src_desc(), engine)},
                   {DNNL_ARG_DIFF_WEIGHTS, filled(p.diff_weights_desc(), engine)},
                   {DNNL_ARG_DIFF_BIAS, filled(p.diff_bias_desc(), engine)},
                   {DNNL_ARG_DIFF_DST, filled(p.diff_dst_desc(), engine)}};
      break;
    }
  }
  for (auto _ : state) {
    primitive.execute(stream, arguments);
    stream.wait();
  }
  report(state, c);
}

const bool kRegistered = [] {
  for (const auto& [name_of_shape, conv] : kShapes) {
    for (auto [pass, name_of_pass] : {std::pair(Pass::kForward, "y"), std::pair(Pass::kInputGradient, "dx"),
                                      std::pair(Pass::kWeightGradient, "dW")}) {
      std::string prefix = std::string("conv/") + name_of_shape + " " + name_of_pass + "/";
      for (Isa isa : available_isas())
        benchmark::RegisterBenchmark((prefix + std::string(name(isa))).c_str(), run_ours, conv, pass, isa);
      benchmark::RegisterBenchmark((prefix + "oneDNN nchw").c_str(), run_onednn, conv, pass, true);
      benchmark::RegisterBenchmark((prefix + "oneDNN own layout").c_str(), run_onednn, conv, pass, false);
    }
  }
  return true;
}();

}  // namespace
}  // namespace wholestep
