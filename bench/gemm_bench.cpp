// Matrix products on one core: ours by instruction set, and oneDNN's sgemm, over the shapes of training.
#include <benchmark/benchmark.h>
#include <oneapi/dnnl/dnnl.h>

#include <string>

#include "bench_support.h"
#include "wholestep/backend/cpu/kernels.h"

namespace wholestep {
namespace {

struct Named {
  const char* name;
  Gemm gemm;
};

// y = x W^T with x [N, in] and W [out, in]; dx = dy W; dW = dy^T x.
Gemm forward(int64_t n, int64_t in, int64_t out) {
  return {.m = n, .n = out, .k = in, .transpose_b = true, .lda = in, .ldb = in, .ldc = out};
}
Gemm input_gradient(int64_t n, int64_t in, int64_t out) {
  return {.m = n, .n = in, .k = out, .lda = out, .ldb = in, .ldc = in};
}
Gemm weight_gradient(int64_t n, int64_t in, int64_t out) {
  return {.m = out, .n = in, .k = n, .transpose_a = true, .lda = out, .ldb = in, .ldc = in};
}

const Named kShapes[] = {
    {"square 512", {.m = 512, .n = 512, .k = 512, .lda = 512, .ldb = 512, .ldc = 512}},
    {"square 512 NT", forward(512, 512, 512)},
    {"square 512 TN", weight_gradient(512, 512, 512)},
    {"W3 784>256 y", forward(32, 784, 256)},
    {"W3 784>256 dW", weight_gradient(32, 784, 256)},
    {"W3 784>256 dW, 32 rows of it", weight_gradient(32, 784, 32)},
    {"W3 256>128 y", forward(32, 256, 128)},
    {"W3 256>128 dx", input_gradient(32, 256, 128)},
    {"W3 256>128 dW", weight_gradient(32, 256, 128)},
    {"W3 128>10 y", forward(32, 128, 10)},
    {"W3 128>10 dx", input_gradient(32, 128, 10)},
    {"W3 128>10 dW", weight_gradient(32, 128, 10)},
    {"W3 784>256 batch 128 y", forward(128, 784, 256)},
    {"W3 784>256 batch 128 dW", weight_gradient(128, 784, 256)},
    {"W2 400>120 y", forward(64, 400, 120)},
    {"W2 400>120 dx", input_gradient(64, 400, 120)},
    {"W2 400>120 dW", weight_gradient(64, 400, 120)},
    {"W4s 2048>64 y", forward(32, 2048, 64)},
    {"W4s 2048>64 dx", input_gradient(32, 2048, 64)},
    {"W4s 2048>64 dW", weight_gradient(32, 2048, 64)},
    {"4 rows 784>256 y", forward(4, 784, 256)},
    {"4 rows 784>256 dx", input_gradient(4, 784, 256)},
    {"16 rows 784>256 y", forward(16, 784, 256)},
    {"16 rows 784>256 dx", input_gradient(16, 784, 256)},
};

struct Data {
  explicit Data(const Gemm& g)
      : a(random_floats(g.m * g.k, 1)), b(random_floats(g.k * g.n, 2)), c(static_cast<size_t>(g.m * g.n)) {}
  std::vector<float> a, b, c;
};

void report(benchmark::State& state, const Gemm& g) {
  state.counters["GFLOP/s"] = benchmark::Counter(2e-9 * static_cast<double>(g.m * g.n * g.k),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

void run_ours(benchmark::State& state, const Gemm& g, Isa isa) {
  Data data(g);
  std::vector<float> workspace(static_cast<size_t>(kernels_of(isa).gemm_workspace_bytes(g)) / sizeof(float) +
                               16);
  auto address = reinterpret_cast<uintptr_t>(workspace.data());
  float* aligned = workspace.data() + (64 - address % 64) % 64 / sizeof(float);
  for (auto _ : state) {
    kernels_of(isa).gemm(g, {data.a.data(), data.b.data(), nullptr, data.c.data()}, {0, g.m, 0, g.n},
                         aligned);
    benchmark::ClobberMemory();
  }
  report(state, g);
}

void run_onednn(benchmark::State& state, const Gemm& g) {
  Data data(g);
  hold_onednn_to_one_thread();
  for (auto _ : state) {
    dnnl_sgemm(g.transpose_a ? 'T' : 'N', g.transpose_b ? 'T' : 'N', g.m, g.n, g.k, 1, data.a.data(), g.lda,
               data.b.data(), g.ldb, 0, data.c.data(), g.ldc);
    benchmark::ClobberMemory();
  }
  report(state, g);
}

const bool kRegistered = [] {
  for (const auto& [name_of_shape, gemm] : kShapes) {
    std::string prefix = std::string("gemm/") + name_of_shape + "/";
    for (Isa isa : available_isas())
      benchmark::RegisterBenchmark((prefix + std::string(name(isa))).c_str(), run_ours, gemm, isa);
    benchmark::RegisterBenchmark((prefix + "oneDNN").c_str(), run_onednn, gemm);
  }
  return true;
}();

}  // namespace
}  // namespace wholestep
