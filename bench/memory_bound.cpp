// How near to the speed of memory element-wise chains, reductions and normalisations come on tensors much
// larger than any cache. Usage: memory_bound [device] [MiB of the operand]
#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "bench/device_rate.h"
#include "wholestep/backend/device.h"

namespace {

using namespace wholestep;

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

}  // namespace

int main(int argc, char** argv) {
  const int64_t elements = (argc > 2 ? std::atol(argv[2]) : 512) << 18;
  CompileOptions options;
  options.backend = find_device(argc > 1 ? argv[1] : "cpu").backend;
  double reference = 0;
  fmt::print("{:<30} {:>9} {:>9} {:>8} {:>7}\n", "f32", "MB", "us", "GB/s", "of -x");
  for (const Work& work : works(elements)) {
    Timed timed = time_on_device(
        std::array{work.x}, [&](std::span<const Tensor> x) { return work.make(x[0]); }, options);
    int64_t bytes = work.x.numel() * 4 + timed.result.bytes();
    double rate = static_cast<double>(bytes) / timed.seconds / 1e9;
    if (reference == 0) reference = rate;
    fmt::print("{:<30} {:>9.1f} {:>9.1f} {:>8.0f} {:>5.0f} %\n", work.name, static_cast<double>(bytes) / 1e6,
               timed.seconds * 1e6, rate, 100 * rate / reference);
  }
}
