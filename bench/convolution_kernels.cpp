// Which kernel for which convolution? The direct kernels and oneDNN's on one core, as a plan runs them,
// reorders and all: medians of interleaved runs over channels, sizes and batches. The rule in
// ops/conv2d_onednn.cpp is what this shows. Usage: convolution_kernels
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "bench_support.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/graph/op.h"
#include "wholestep/ops/conv2d_cpu.h"

namespace {

using namespace wholestep;
using Clock = std::chrono::steady_clock;
using Prepare = std::unique_ptr<PreparedKernel> (*)(const KernelRequest&);

struct Convolution {
  int64_t batch, in_channels, out_channels, size, kernel, stride;
};

/// One kernel, ready to be timed.
class Candidate {
 public:
  Candidate(const KernelRequest& request, Prepare prepare) : kernel_(prepare(request)) {
    for (const TensorType& type : request.inputs) {
      memories_.push_back(cpu_backend().allocate(type.bytes()));
      std::vector<float> values = random_floats(type.shape.numel(), memories_.size());
      cpu_backend().copy_in(memories_.back()->data(), reinterpret_cast<const std::byte*>(values.data()),
                            type.bytes());
      inputs_.push_back(memories_.back()->data());
    }
    memories_.push_back(cpu_backend().allocate(request.outputs[0].bytes()));
    outputs_.push_back(memories_.back()->data());
    memories_.push_back(cpu_backend().allocate(kernel_->workspace_bytes));
  }
  void time() {
    auto start = Clock::now();
    cpu_backend().run(*kernel_, inputs_, outputs_, memories_.back()->data());
    seconds_.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  double median_ms() {
    std::ranges::sort(seconds_);
    return seconds_[seconds_.size() / 2] * 1e3;
  }
  void forget() { seconds_.clear(); }

 private:
  std::unique_ptr<PreparedKernel> kernel_;
  std::vector<std::shared_ptr<Memory>> memories_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
  std::vector<double> seconds_;
};

/// Milliseconds of both, and their ratio.
std::string compare(const KernelRequest& request, double flops, Prepare direct, Prepare onednn) {
  Candidate ours(request, direct), theirs(request, onednn);
  const int runs = std::clamp(static_cast<int>(2e10 / flops), 5, 31);
  for (int i = 0; i < runs + 1; ++i) {
    if (i == 1) ours.forget(), theirs.forget();  // the first run warms up
    ours.time();
    theirs.time();
  }
  double a = ours.median_ms(), b = theirs.median_ms();
  return fmt::format(" {:8.3f} {:8.3f} {:5.2f} |", a, b, a / b);
}

void measure(const Convolution& c) {
  const int64_t padding = c.kernel / 2, out = (c.size + 2 * padding - c.kernel) / c.stride + 1;
  const double flops = 2.0 * static_cast<double>(c.batch * c.in_channels * c.out_channels * out * out) *
                       static_cast<double>(c.kernel * c.kernel);
  if (flops > 1e10) return;
  TensorType x = {DType::f32, {c.batch, c.in_channels, c.size, c.size}},
             weight = {DType::f32, {c.out_channels, c.in_channels, c.kernel, c.kernel}},
             bias = {DType::f32, {c.out_channels}}, y = {DType::f32, {c.batch, c.out_channels, out, out}};
  Attrs attrs = {{"stride", std::vector<int64_t>{c.stride, c.stride}},
                 {"padding", std::vector<int64_t>{padding, padding}},
                 {"dilation", std::vector<int64_t>{1, 1}},
                 {"groups", 1}};
  const Types forward = {x, weight, bias}, dx = {y, weight}, dw = {x, y}, to_y = {y}, to_x = {x},
              to_weight = {weight};
  fmt::print("{:3} > {:3} {}x{} s{} on {:2} batch {:2} |", c.in_channels, c.out_channels, c.kernel, c.kernel,
             c.stride, c.size, c.batch);
  fmt::print("{}",
             compare({"conv2d", forward, to_y, attrs}, flops, prepare_conv2d_direct, prepare_conv2d_onednn));
  fmt::print("{}", compare({"conv2d_dx", dx, to_x, attrs}, flops, prepare_conv2d_dx_direct,
                           prepare_conv2d_dx_onednn));
  fmt::print("{}\n", compare({"conv2d_dw", dw, to_weight, attrs}, flops, prepare_conv2d_dw_direct,
                             prepare_conv2d_dw_onednn));
  std::fflush(stdout);
}

}  // namespace

int main() {
  set_threads(1);
  fmt::print("ms direct, ms oneDNN, ratio            |{:^25}|{:^25}|{:^25}|\n", "y", "dx", "dw");
  for (int64_t kernel : {1, 3, 5})
    for (int64_t batch : {8, 32})
      for (int64_t channels : {16, 32, 64, 128, 256, 512})
        for (int64_t size : {7, 14, 28, 64}) measure({batch, channels, channels, size, kernel, 1});
  for (auto [in, out] : {std::pair<int64_t, int64_t>{16, 64}, {64, 16}, {32, 128}, {64, 256}, {256, 64}})
    for (int64_t kernel : {1, 3})
      for (int64_t size : {14, 28}) measure({16, in, out, size, kernel, 1});
  for (int64_t channels : {32, 64, 128, 256})
    for (int64_t kernel : {1, 3}) measure({16, channels, 2 * channels, 28, kernel, 2});
}
