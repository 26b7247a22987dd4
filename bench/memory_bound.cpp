// How near to the speed of memory element-wise chains, reductions and normalisations come on tensors much
// larger than any cache. Usage: memory_bound [device] [MiB of the operand]
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>

#include "wholestep/backend/device.h"
#include "wholestep/base/philox.h"
#include "wholestep/wholestep.h"

namespace {

using namespace wholestep;
using Clock = std::chrono::steady_clock;

struct Work {
  std::string name;
  Shape x;
  std::function<Tensor(const Tensor& x)> make;
};

std::vector<Work> works(int64_t elements) {
  Shape flat = {elements}, wide = {elements / 1024, 1024}, tall = {1024, elements / 1024},
        images = {64, 64, elements / 4096 / 64, 64};
  return {
      {"-x", flat, [](const Tensor& x) { return -x; }},
      {"silu(x) * 0.5 + tanh(x)", flat, [](const Tensor& x) { return silu(x) * 0.5 + tanh(x); }},
      {"gelu(x)", flat, [](const Tensor& x) { return gelu(x); }},
      {"x + row", wide, [](const Tensor& x) { return x + slice(x, 0, 0, 1); }},
      {"x as f64", flat, [](const Tensor& x) { return cast(x, DType::f64); }},
      {"sum of all", flat, [](const Tensor& x) { return sum(x); }},
      {"sum of rows of 1024", wide, [](const Tensor& x) { return sum(x, {1}); }},
      {"sum of 1024 rows", tall, [](const Tensor& x) { return sum(x, {0}); }},
      {"sum over columns, 1024 wide", wide, [](const Tensor& x) { return sum(x, {0}); }},
      {"sum over all but channels", images,
       [](const Tensor& x) {
         return sum(x, {0, 2, 3});
       }},
      {"max of rows of 1024", wide, [](const Tensor& x) { return max(x, {1}); }},
      {"argmax of rows of 1024", wide, [](const Tensor& x) { return argmax(x, 1); }},
      {"softmax of rows of 1024", wide, [](const Tensor& x) { return softmax(x); }},
      {"transpose", wide, [](const Tensor& x) { return transpose(x); }},
  };
}

Tensor random_tensor(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  PhiloxStream random(1, 1);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = i < 1 << 20 ? static_cast<float>(random.below(1 << 20)) * 4e-6f - 2 : values[i - (1 << 20)];
  return tensor(values, shape);
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t elements = (argc > 2 ? std::atol(argv[2]) : 512) << 18;
  CompileOptions options;
  options.backend = find_device(argc > 1 ? argv[1] : "cpu").backend;
  double reference = 0;
  fmt::print("{:<30} {:>9} {:>9} {:>8} {:>7}\n", "f32", "MB", "us", "GB/s", "of -x");
  for (const Work& work : works(elements)) {
    Tensor x = random_tensor(work.x).set_role(TensorRole::kState, "x");
    auto graph = std::make_shared<Graph>();
    int64_t bytes = x.type().bytes();
    {
      Trace trace(graph);
      Tensor y = work.make(x), tick = graph->add_input(InputKind::kBatch, "tick", {DType::f32, {}});
      bytes += y.type().bytes();
      graph->add_output("y", y);
      graph->add_output("tick", -tick);  // read to wait for the end
    }
    CompiledStep step(make_plan(graph, options));
    auto seconds_of = [&](int64_t times) {
      auto start = Clock::now();
      step.run(times);
      step.output("tick");
      return std::chrono::duration<double>(Clock::now() - start).count();
    };
    double once = seconds_of(16) / 16, least = 1e9;
    const int64_t times = 16 * std::max<int64_t>(1, static_cast<int64_t>(0.02 / once / 16));
    for (int round = 0; round < 5; ++round)
      least = std::min(least, seconds_of(times) / static_cast<double>(times));
    double rate = static_cast<double>(bytes) / least / 1e9;
    if (reference == 0) reference = rate;
    fmt::print("{:<30} {:>9.1f} {:>9.1f} {:>8.0f} {:>5.0f} %\n", work.name, static_cast<double>(bytes) / 1e6,
               least * 1e6, rate, 100 * rate / reference);
  }
}
