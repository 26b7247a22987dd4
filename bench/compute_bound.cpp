// What products and convolutions of networks of usual sizes reach, in TF32 where the device has it, and by
// which kernel; on a GPU convolutions also every other way, which shows whether plans choose well.
// Usage: compute_bound [device] [part of a name]
// bench/peers/products.py reads what this prints and adds PyTorch's figures.
#include <fmt/format.h>

#include <set>
#include <string>

#include "bench/device_rate.h"
#include "wholestep/backend/cuda/library_call.h"
#include "wholestep/backend/device.h"

namespace {

using namespace wholestep;

struct Work {
  std::string name;
  std::vector<Shape> operands;
  double operations;  ///< multiplications and additions
  TimedFunction make;
};

/// c [m, n] over k; `form` has a letter an operand: t where it lies transposed.
Work product(int64_t batch, int64_t m, int64_t n, int64_t k, std::string_view form) {
  const bool ta = form[0] == 't', tb = form[1] == 't';
  auto shape = [&](int64_t rows, int64_t columns) {
    return batch > 1 ? Shape{batch, rows, columns} : Shape{rows, columns};
  };
  return {fmt::format("matmul {} {} {} {} {}", batch, m, n, k, form),
          {ta ? shape(k, m) : shape(m, k), tb ? shape(n, k) : shape(k, n)},
          2.0 * static_cast<double>(batch * m * n * k),
          [=](std::span<const Tensor> x) { return matmul(x[0], x[1], ta, tb); }};
}

/// The three products of a convolution of a batch of `side` by `side` pixels.
void add_convolutions(std::vector<Work>& all, int64_t batch, int64_t in, int64_t out, int64_t side,
                      int64_t kernel, int64_t stride) {
  const Conv2dOptions options{.stride = {stride, stride}, .padding = {kernel / 2, kernel / 2}};
  const int64_t result = (side + 2 * (kernel / 2) - kernel) / stride + 1;
  const Shape x{batch, in, side, side}, weight{out, in, kernel, kernel}, y{batch, out, result, result};
  const double operations = 2.0 * static_cast<double>(y.numel() * in * kernel * kernel);
  auto add = [&](std::string_view what, TimedFunction make) {
    all.push_back({fmt::format("conv {} {} {} {} {} {} {}", batch, in, out, side, kernel, stride, what),
                   {x, weight, y},
                   operations,
                   std::move(make)});
  };
  auto gradient = [options](size_t of) {
    return [options, of](std::span<const Tensor> t) {
      Tensor made = conv2d(t[0], t[1], {}, options);
      return grad(std::array{made}, std::array{t[of]}, std::array{t[2]})[0];
    };
  };
  add("y", [options](std::span<const Tensor> t) { return conv2d(t[0], t[1], {}, options); });
  if (in > 3) add("dx", gradient(0));
  add("dw", gradient(1));
}

std::vector<Work> works() {
  std::vector<Work> all;
  for (int64_t side : {512, 1024, 2048, 4096, 8192}) all.push_back(product(1, side, side, side, "nt"));
  for (auto [m, n, k] : {std::array<int64_t, 3>{16384, 768, 768}, {16384, 3072, 768}, {16384, 768, 3072}}) {
    all.push_back(product(1, m, n, k, "nt"));  // y = x w^T
    all.push_back(product(1, m, k, n, "nn"));  // dx = dy w
    all.push_back(product(1, n, k, m, "tn"));  // dw = dy^T x
  }
  all.push_back(product(1, 256, 1000, 2048, "nt"));
  all.push_back(
      product(1, 32, 128, 262144, "nt"));  // bound by memory: a wide layer and the gradient of its input
  all.push_back(product(1, 32, 262144, 128, "nn"));
  all.push_back(product(192, 1024, 1024, 64, "nt"));  // attention's scores, and their use
  all.push_back(product(192, 1024, 64, 1024, "nn"));
  add_convolutions(all, 32, 3, 64, 224, 7, 2);
  add_convolutions(all, 32, 64, 64, 56, 3, 1);
  add_convolutions(all, 32, 64, 256, 56, 1, 1);
  add_convolutions(all, 32, 256, 64, 56, 1, 1);
  add_convolutions(all, 32, 128, 128, 56, 3, 2);
  add_convolutions(all, 32, 128, 128, 28, 3, 1);
  add_convolutions(all, 32, 256, 256, 14, 3, 1);
  add_convolutions(all, 32, 512, 512, 7, 3, 1);
  add_convolutions(all, 128, 64, 64, 32, 3, 1);  // CIFAR
  add_convolutions(all, 128, 128, 128, 16, 3, 1);
  return all;
}

/// What plans may leave to libraries.
struct Way {
  LibraryUse use;
  bool cudnn;
};

}  // namespace

int main(int argc, char** argv) {
  CompileOptions options;
  options.backend = find_device(argc > 1 ? argv[1] : "cpu").backend;
  const std::string part = argc > 2 ? argv[2] : "";
  const bool cudnn = cudnn_available();
  std::vector<Way> ways = {{LibraryUse::kWhereAhead, cudnn}};
  if (options.backend->name() == "cuda")
    for (const Way& way :
         {Way{LibraryUse::kNever, false}, {LibraryUse::kAlways, false}, {LibraryUse::kAlways, true}})
      if (cudnn || !way.cudnn) ways.push_back(way);
  fmt::print("{:<34} {:<15} {:>9} {:>9} {:>9}\n", "f32", "kernel", "GFLOP", "us", "TFLOP/s");
  for (const Work& work : works()) {
    if (work.name.find(part) == std::string::npos) continue;
    std::set<std::string> printed;
    for (const Way& way : ways) {
      set_library_use(way.use);
      set_cudnn_available(way.cudnn);
      const Timed timed = time_on_device(work.operands, work.make, options);
      if (printed.insert(timed.kernel).second)
        fmt::print("{:<34} {:<15} {:>9.2f} {:>9.1f} {:>9.1f}\n", work.name, timed.kernel,
                   work.operations / 1e9, timed.seconds * 1e6, work.operations / timed.seconds / 1e12);
      std::fflush(stdout);
      if (!work.name.starts_with("conv")) break;
    }
  }
}
