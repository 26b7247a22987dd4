// Every CPU kernel of an op on one core, over the shapes of training: the order of the kernels in the op
// table is the order measured here.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>

#include "bench_support.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/ops/conv2d.h"
#include "wholestep/ops/registry.h"

namespace wholestep {
namespace {

struct Work {
  std::string name, op;
  Types inputs;
  Attrs attrs;
};

TensorType f32(Shape shape) { return {DType::f32, shape}; }

/// The three ops of a convolution.
void add_convolution(std::vector<Work>& works, const std::string& name, Shape x, Shape weight, int64_t stride,
                     int64_t padding) {
  Attrs attrs = {{"stride", std::vector<int64_t>{stride, stride}},
                 {"padding", std::vector<int64_t>{padding, padding}},
                 {"dilation", std::vector<int64_t>{1, 1}},
                 {"groups", 1}};
  Shape y = infer_types(find_op("conv2d"), Types{f32(x), f32(weight)}, attrs)[0].shape;
  Attrs dx = attrs, dw = attrs;
  dx.set({"size", std::vector<int64_t>{x[2], x[3]}});
  dw.set({"kernel", std::vector<int64_t>{weight[2], weight[3]}});
  works.push_back({name, "conv2d", {f32(x), f32(weight), f32({weight[0]})}, attrs});
  works.push_back({name, "conv2d_dx", {f32(y), f32(weight)}, dx});
  works.push_back({name, "conv2d_dw", {f32(x), f32(y)}, dw});
}

/// The three products of a linear layer: y = x W^T, dx = dy W, dW = dy^T x.
void add_linear(std::vector<Work>& works, const std::string& name, int64_t n, int64_t in, int64_t out) {
  auto product = [&](const char* which, Shape a, Shape b, bool transpose_a, bool transpose_b) {
    works.push_back({name + " " + which,
                     "matmul",
                     {f32(a), f32(b)},
                     {{"transpose_a", transpose_a}, {"transpose_b", transpose_b}}});
  };
  product("y", {n, in}, {out, in}, false, true);
  product("dx", {n, out}, {out, in}, false, false);
  product("dW", {n, out}, {n, in}, true, false);
}

std::vector<Work> works() {
  std::vector<Work> all;
  add_linear(all, "W2 400>120", 64, 400, 120);
  add_linear(all, "W3 784>256", 32, 784, 256);
  add_linear(all, "W4s 2048>64", 32, 2048, 64);
  add_linear(all, "W4 262144>128", 32, 262144, 128);
  all.push_back({"W4 262144>128 dW",
                 "matmul_squares",
                 {f32({32, 128}), f32({32, 262144})},
                 {{"transpose_a", true}, {"transpose_b", false}}});
  add_linear(all, "4096>1000", 64, 4096, 1000);
  add_convolution(all, "W1", {32, 3, 32, 32}, {8, 3, 3, 3}, 1, 1);
  add_convolution(all, "W2.0", {64, 1, 28, 28}, {6, 1, 5, 5}, 1, 2);
  add_convolution(all, "W2.3", {64, 6, 14, 14}, {16, 6, 5, 5}, 1, 0);
  add_convolution(all, "W4.0", {32, 3, 64, 64}, {16, 3, 3, 3}, 1, 1);
  add_convolution(all, "W4.1", {32, 16, 64, 64}, {32, 16, 3, 3}, 1, 1);
  add_convolution(all, "W4.2", {32, 32, 64, 64}, {64, 32, 3, 3}, 1, 1);
  add_convolution(all, "W4s.0", {32, 3, 64, 64}, {8, 3, 3, 3}, 2, 1);
  add_convolution(all, "W4s.1", {32, 8, 32, 32}, {16, 8, 3, 3}, 2, 1);
  add_convolution(all, "W4s.2", {32, 16, 16, 16}, {32, 16, 3, 3}, 2, 1);
  Attrs half = {{"kernel", std::vector<int64_t>{2, 2}},
                {"stride", std::vector<int64_t>{2, 2}},
                {"padding", std::vector<int64_t>{0, 0}}};
  Attrs size14 = {{"size", std::vector<int64_t>{28, 28}}}, size1 = {{"size", std::vector<int64_t>{1, 1}}};
  Shape image = {64, 6, 28, 28}, pooled = {64, 6, 14, 14};
  all.push_back({"W2.0", "max_pool2d", {f32(image)}, half});
  all.push_back({"W2.0", "max_pool2d_dx", {f32(pooled), {DType::i32, pooled}}, size14});
  all.push_back({"W2.0", "avg_pool2d", {f32(image)}, half});
  all.push_back({"W1", "adaptive_avg_pool2d", {f32({32, 8, 32, 32})}, size1});
  all.push_back(
      {"W1", "adaptive_avg_pool2d_dx", {f32({32, 8, 1, 1})}, {{"size", std::vector<int64_t>{32, 32}}}});
  Attrs eps = {{"eps", 1e-5}};
  all.push_back({"16 channels", "batch_norm", {f32({64, 16, 28, 28}), f32({16}), f32({16})}, eps});
  all.push_back({"16 channels",
                 "batch_norm_dx",
                 {f32({64, 16, 28, 28}), f32({16}), f32({16}), f32({16}), f32({64, 16, 28, 28})},
                 eps});
  for (Shape x : {Shape{64, 10}, Shape{64, 1000}, Shape{16, 50257}}) {
    TensorType labels = {DType::i64, {x[0]}};
    all.push_back({to_string(x), "softmax", {f32(x)}, {}});
    all.push_back({to_string(x), "log_softmax", {f32(x)}, {}});
    all.push_back({to_string(x), "cross_entropy", {f32(x), labels}, {}});
    all.push_back({to_string(x), "cross_entropy_dx", {f32(x), labels, f32({x[0]})}, {}});
  }
  for (const char* op : {"sum", "max"})
    for (std::vector<int64_t> axes : {std::vector<int64_t>{0, 2, 3}, {0, 1, 2, 3}, {2, 3}, {1}})
      all.push_back({"64x16x28x28 " + to_string(Attrs{{"axes", axes}}),
                     op,
                     {f32({64, 16, 28, 28})},
                     {{"axes", axes}, {"keep_dims", false}}});
  all.push_back(
      {"64x1024", "sum", {f32({64, 1024})}, {{"axes", std::vector<int64_t>{0}}, {"keep_dims", false}}});
  for (const char* op : {"relu", "exp", "tanh", "sigmoid", "erf", "sqrt", "neg"})
    all.push_back({"64x4096", op, {f32({64, 4096})}, {}});
  return all;
}

Tensor random_operand(const TensorType& type, uint64_t seed) {
  Tensor t = zeros(type);
  if (type.dtype == DType::f32)
    std::ranges::copy(random_floats(type.shape.numel(), seed), t.data<float>().begin());
  return t;
}

void run(benchmark::State& state, const Work& work, const Kernel& kernel) {
  set_threads(1);
  hold_onednn_to_one_thread();
  const OpDef& op = find_op(work.op);
  Types outputs = infer_types(op, work.inputs, work.attrs);
  KernelRequest request{op.name, work.inputs, outputs, work.attrs};
  auto prepared = kernel.prepare(request);
  std::vector<Tensor> tensors;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const TensorType& type : work.inputs) {
    tensors.push_back(random_operand(type, in.size() + 1));
    in.push_back(tensors.back().bytes().data());
  }
  for (const TensorType& type : outputs) {
    tensors.push_back(zeros(type));
    out.push_back(tensors.back().bytes().data());
  }
  auto workspace = cpu_backend().allocate(prepared->workspace_bytes);
  for (auto _ : state) cpu_backend().run(*prepared, in, out, workspace->data());
  int64_t bytes = 0;
  for (const Tensor& t : tensors) bytes += t.type().bytes();
  state.counters["GFLOP/s"] =
      benchmark::Counter(1e-9 * flops(op, request), benchmark::Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] =
      benchmark::Counter(1e-9 * static_cast<double>(bytes), benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace

void register_op_benchmarks() {
  static const std::vector<Work> all = works();
  for (const Work& work : all) {
    const OpDef& op = find_op(work.op);
    Types outputs = infer_types(op, work.inputs, work.attrs);
    for (const Kernel& kernel : op.kernels)
      if (kernel.backend == "cpu" &&
          (!kernel.refuse || kernel.refuse({op.name, work.inputs, outputs, work.attrs}).empty()))
        benchmark::RegisterBenchmark((work.op + "/" + work.name + "/" + std::string(kernel.name)).c_str(),
                                     run, work, kernel);
  }
}

}  // namespace wholestep
