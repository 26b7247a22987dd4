// Softmax and cross-entropy as rows of the batch; a row has a group of threads of its size.
#include "wholestep/ops/softmax_cuda.h"

#include <bit>

#include "wholestep/backend/cuda/elements.h"

namespace wholestep {
namespace {

/// Longer rows have a block each, in which every thread has an element or more; but where rows are so many
/// that all warps have some, a warp holds rows up to the second length in its registers.
constexpr int64_t kWarpRow = 256, kLongWarpRow = 1024, kManyRows = 4096;

/// `rows` rows of n elements, of which the first axis has `samples`; `more` arguments of the function.
template <class... More>
std::unique_ptr<PreparedKernel> rows_call(const KernelRequest& q, std::string_view function, int64_t samples,
                                          int64_t rows, int64_t n, More... more) {
  auto call = cuda_call(q, "softmax.cuh");
  int64_t group = n <= (rows >= kManyRows ? kLongWarpRow : kWarpRow) ? cuda_group(n, 32) : kCudaThreads;
  CudaElements split(samples, rows, kCudaThreads / group, samples > 0 ? rows / samples * n : 0);
  call->phases.push_back(split.phase(kAllOperands, kAllOperands,
                                     device_function(function, split.type(), n, group, more...),
                                     kCudaThreads / 32 * int64_t{sizeof(double)}));
  return call;
}

std::unique_ptr<PreparedKernel> last_axis_call(const KernelRequest& q, std::string_view function) {
  const Shape& x = q.inputs[0].shape;
  int64_t rows = x.numel() > 0 ? x.numel() / x.back() : 0;
  auto call = rows_call(q, function, x.rank() > 1 ? x[0] : 1, rows, x.back());
  call->in_place = true;
  return call;
}

template <class... More>
std::unique_ptr<PreparedKernel> class_call(const KernelRequest& q, std::string_view function, More... more) {
  const Shape& logits = q.inputs[0].shape;
  return rows_call(q, function, logits[0], logits[0], logits[1], more...);
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_softmax_cuda(const KernelRequest& q) {
  return last_axis_call(q, "softmax_rows");
}
std::unique_ptr<PreparedKernel> prepare_log_softmax_cuda(const KernelRequest& q) {
  return last_axis_call(q, "log_softmax_rows");
}
std::unique_ptr<PreparedKernel> prepare_cross_entropy_cuda(const KernelRequest& q) {
  return class_call(q, "cross_entropy_rows");
}
std::unique_ptr<PreparedKernel> prepare_cross_entropy_dx_cuda(const KernelRequest& q) {
  return class_call(q, "cross_entropy_dx_rows");
}
std::unique_ptr<PreparedKernel> prepare_cross_entropy_with_dx_cuda(const KernelRequest& q) {
  const auto g = std::bit_cast<uint64_t>(q.attrs.number("g"));
  return class_call(q, "cross_entropy_with_dx_rows", g);
}

}  // namespace wholestep
