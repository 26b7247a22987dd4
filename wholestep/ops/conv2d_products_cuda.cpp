// Convolutions of many channels, large kernels and strides as products of matrices: the pixels that each
// result reads are unfolded into columns in the workspace, as much of the batch at a time as keeps them
// small.
#include <fmt/format.h>

#include <algorithm>

#include "wholestep/ops/conv2d_cuda.h"
#include "wholestep/ops/matmul_cuda.h"
#include "wholestep/ops/pixel_program.h"

namespace wholestep {
namespace {

using Place = LibraryPlace;
using In = Place::In;

/// Columns that are in memory at a time.
constexpr int64_t kColumnsBytes = int64_t{64} << 20;
/// Where there is no other way than all at once, this is too much, if there are tiles.
constexpr int64_t kMostColumnsBytes = int64_t{512} << 20;

/// One request, as sizes of matrices.
struct Columns {
  explicit Columns(const KernelRequest& request)
      : op(request.op),
        problem(conv2d_problem(request)),
        dtype(request.outputs[0].dtype),
        weight_columns(problem.conv.in_channels * problem.conv.y.kernel * problem.conv.x.kernel),
        pixels(problem.conv.y.out * problem.conv.x.out) {}

  std::string_view op;
  Conv2dProblem problem;
  DType dtype;
  int64_t weight_columns, pixels;

  int64_t channels() const { return problem.conv.out_channels; }
  double flops() const { return static_cast<double>(problem.batch) * conv2d_sample_flops(problem.conv); }
  int64_t sample_bytes() const { return weight_columns * pixels * size_bytes(dtype); }
  /// Where a result has more terms than a sample pixels, samples are put side by side: matrices [.., batch
  /// pixels] instead of one of every sample, which would be narrow, or parts of a weight's gradient, which
  /// would be large.
  bool turned() const { return weight_columns > pixels; }
  /// Pixels are columns as they lie.
  bool in_place() const {
    auto plain = [](const ConvAxis& a) { return a.kernel == 1 && a.stride == 1 && a.padding == 0; };
    return plain(problem.conv.y) && plain(problem.conv.x) && !turned();
  }
  int64_t samples_at_once() const {
    if (in_place() || (op == "conv2d_dw" && turned())) return problem.batch;
    // Parts of a weight's gradient, few blocks of long sums each, all at once take little more time than one.
    const int64_t busy =
        op == "conv2d_dw" ? ceil_div(kCudaBusyBlocks, cuda_product_blocks(channels(), weight_columns)) : 1;
    return std::min(problem.batch, std::max(busy, kColumnsBytes / std::max<int64_t>(sample_bytes(), 1)));
  }
  int64_t columns_bytes() const { return in_place() ? 0 : samples_at_once() * sample_bytes(); }
};

/// Microseconds, as docs/performance.md has them: of tiles on tensor cores, where there are some, or plain
/// loops; and of products with their columns written and read.
double own_time(const Columns& c, bool tiles) { return c.flops() / (tiles ? 90e6 : 2e6); }
double product_time(const Columns& c) {
  const double columns = c.in_place() ? 0 : static_cast<double>(c.problem.batch * c.sample_bytes());
  return c.flops() / 250e6 + 2 * columns / 3e6 + 4;
}
bool too_many_columns(const Columns& c, bool tiles) { return tiles && c.columns_bytes() > kMostColumnsBytes; }

class Builder {
 public:
  explicit Builder(const KernelRequest& request)
      : request_(request),
        c_(request),
        call_(cuda_call(request, "conv2d_products.cuh")),
        geometry_(conv2d_geometry(c_.problem.batch, c_.problem.conv)) {}

  std::unique_ptr<PreparedKernel> build() {
    if (c_.op == "conv2d") forward();
    else if (c_.op == "conv2d_dx") gradient_of_input();
    else gradient_of_weight();
    add_scratch();
    return std::move(call_);
  }

 private:
  void forward() {
    const int64_t result = c_.channels() * c_.pixels, columns = take_columns(), turned = take_turned();
    in_passes([&](int64_t first, int64_t count) {
      if (!c_.in_place()) unfold(first, count, columns);
      add_product(
          {.batch = c_.turned() ? 1 : count,
           .m = c_.channels(),
           .n = c_.turned() ? count * c_.pixels : c_.pixels,
           .k = c_.weight_columns,
           .shared_a = true,
           .at = {.a = {In::kInput, 1},
                  .b = c_.in_place() ? Place{In::kInput, 0, bytes(first * c_.weight_columns * c_.pixels)}
                                     : Place{In::kWorkspace, 0, columns},
                  .d = c_.turned() ? Place{In::kWorkspace, 0, turned}
                                   : Place{In::kOutput, 0, bytes(first * result)}}});
      if (c_.turned())
        add_shared_out(count * result / largest_power(c_.pixels),
                       device_function("turn_back", c_.dtype, geometry_, first, count, turned,
                                       c_.problem.third(), c_.problem.relu));
    });
    if (!c_.turned() && (c_.problem.third() != 0 || c_.problem.relu))
      add_finish(*call_, request_.outputs[0], c_.channels(), c_.pixels, c_.problem.third(), c_.problem.relu);
  }

  void gradient_of_input() {
    const int64_t columns = take_columns(), turned = take_turned(),
                  sample = request_.outputs[0].shape.numel() / c_.problem.batch;
    in_passes([&](int64_t first, int64_t count) {
      if (c_.turned()) turn_gradient(first, count, turned);
      add_product({.batch = c_.turned() ? 1 : count,
                   .m = c_.weight_columns,
                   .n = c_.turned() ? count * c_.pixels : c_.pixels,
                   .k = c_.channels(),
                   .transpose_a = true,
                   .shared_a = true,
                   .at = {.a = {In::kInput, 1},
                          .b = c_.turned() ? Place{In::kWorkspace, 0, turned}
                                           : Place{In::kInput, 0, bytes(first * c_.channels() * c_.pixels)},
                          .d = c_.in_place() ? Place{In::kOutput, 0, bytes(first * sample)}
                                             : Place{In::kWorkspace, 0, columns}}});
      if (!c_.in_place())
        add_shared_out(count * sample, device_function("fold", c_.dtype, geometry_, first, count, c_.turned(),
                                                       columns, c_.problem.third()));
    });
    if (c_.in_place() && c_.problem.masked)
      add_finish(*call_, request_.outputs[0], c_.weight_columns, c_.pixels, c_.problem.third(), false);
  }

  /// One sum over the pixels of the batch, turned; or parts of every sample, where they are the smaller ones.
  void gradient_of_weight() {
    if (c_.turned()) {
      const int64_t columns = take_columns(), gradient = take_turned();
      unfold(0, c_.problem.batch, columns);
      turn_gradient(0, c_.problem.batch, gradient);
      add_product({.m = c_.channels(),
                   .n = c_.weight_columns,
                   .k = c_.problem.batch * c_.pixels,
                   .transpose_b = true,
                   .at = {.a = {In::kWorkspace, 0, gradient},
                          .b = {In::kWorkspace, 0, columns},
                          .d = {In::kOutput, 0}}});
      if (c_.problem.bias)
        call_->phases.push_back({.chunks = c_.channels(),
                                 .run = device_function("conv2d_db_plain", c_.dtype, geometry_, 1),
                                 .shared_bytes = kCudaThreads * 8});
      return;
    }
    const int64_t weights = c_.channels() * c_.weight_columns,
                  part = weights + (c_.problem.bias ? c_.channels() : 0);
    take(bytes(c_.problem.batch * part));  // first in the workspace, where the join looks for them
    const int64_t columns = take_columns();
    in_passes([&](int64_t first, int64_t count) {
      if (!c_.in_place()) unfold(first, count, columns);
      add_product(
          {.batch = count,
           .m = c_.channels(),
           .n = c_.weight_columns,
           .k = c_.pixels,
           .transpose_b = true,
           .d_stride = part,
           .at = {.a = {In::kInput, 1, bytes(first * c_.channels() * c_.pixels)},
                  .b = c_.in_place() ? Place{In::kInput, 0, bytes(first * c_.weight_columns * c_.pixels)}
                                     : Place{In::kWorkspace, 0, columns},
                  .d = {In::kWorkspace, 0, bytes(first * part)}}});
    });
    if (c_.problem.bias)
      call_->phases.push_back({.chunks = ceil_div(c_.problem.batch * c_.channels(), kCudaThreads / 32),
                               .run = device_function("bias_parts", c_.dtype, geometry_, weights)});
    const int64_t workspace = call_->workspace_bytes;
    add_conv2d_join(*call_, request_, c_.problem.batch);
    call_->workspace_bytes = workspace;
  }

  int64_t bytes(int64_t elements) const { return elements * size_bytes(c_.dtype); }

  /// A place in the workspace.
  int64_t take(int64_t size) {
    int64_t at = call_->workspace_bytes;
    call_->workspace_bytes += aligned(size);
    return at;
  }
  int64_t take_columns() { return take(c_.columns_bytes()); }
  /// For results, or their gradient, with the channels first.
  int64_t take_turned() {
    return c_.turned() ? take(bytes(c_.samples_at_once() * c_.channels() * c_.pixels)) : 0;
  }
  template <class Fn>
  void in_passes(Fn&& fn) {
    for (int64_t first = 0, count = c_.samples_at_once(); first < c_.problem.batch; first += count)
      fn(first, std::min(count, c_.problem.batch - first));
  }
  void unfold(int64_t first, int64_t count, int64_t to) {
    add_shared_out(count * c_.weight_columns * c_.pixels / largest_power(c_.problem.conv.x.out),
                   device_function("unfold", c_.dtype, geometry_, first, count, c_.turned(), to));
  }
  void turn_gradient(int64_t first, int64_t count, int64_t to) {
    add_shared_out(count * c_.channels() * c_.pixels / largest_power(c_.pixels),
                   device_function(c_.op == "conv2d_dx" ? "turn_first" : "turn_second", c_.dtype, geometry_,
                                   first, count, to));
  }
  /// A phase by share_out() of conv2d_products.cuh.
  void add_shared_out(int64_t count, std::string run) {
    call_->phases.push_back({.chunks = ceil_div(count, 4 * kCudaThreads), .run = std::move(run)});
  }
  /// Products of a call run one after the other, with the same scratch behind everything else.
  void add_product(CudaProduct product) {
    product.dtype = c_.dtype;
    product.tf32 = tf32_allowed();
    call_->phases.push_back(cuda_library_phase(std::move(product)));
  }
  void add_scratch() {
    int64_t most = 0;
    for (CudaPhase& phase : call_->phases)
      if (phase.library) {
        places(*phase.library).scratch = {In::kWorkspace, 0, call_->workspace_bytes};
        most = std::max(most, scratch_bytes(*phase.library));
      }
    take(most);
  }

  const KernelRequest& request_;
  Columns c_;
  std::unique_ptr<CudaCall> call_;
  std::string geometry_;
};

}  // namespace

double conv2d_time_without_cudnn(const KernelRequest& request) {
  const Columns c(request);
  const bool tiles = refuse_conv2d_tensor_cuda(request).empty();
  const double own = own_time(c, tiles);
  return too_many_columns(c, tiles) ? own : std::min(own, product_time(c));
}

std::string refuse_conv2d_products_cuda(const KernelRequest& request) {
  const Columns c(request);
  if (std::string refusal = refuse_program(request); !refusal.empty()) return refusal;
  if (c.problem.conv.groups != 1) return fmt::format("groups is {}", c.problem.conv.groups);
  if (c.problem.batch == 0 || c.pixels == 0 || c.weight_columns == 0 || c.channels() == 0)
    return "there is nothing to do";
  if (auto decided = refused_by_library_use()) return *decided;
  if (c.flops() < static_cast<double>(kCudaProductFlops)) return "little work";
  if (conv2d_fits_lane(c.problem.conv)) return "a lane has room for a sample";
  const bool tiles = refuse_conv2d_tensor_cuda(request).empty();
  if (too_many_columns(c, tiles)) return fmt::format("columns of {} bytes", c.columns_bytes());
  const double own = own_time(c, tiles), product = product_time(c);
  return product < own ? "" : fmt::format("about {:.0f} us, in tiles {:.0f}", product, own);
}

std::unique_ptr<PreparedKernel> prepare_conv2d_products_cuda(const KernelRequest& request) {
  return Builder(request).build();
}

}  // namespace wholestep
