// Writes the geometry of a pooling as constants of its device function.
#include "wholestep/ops/pool2d_cuda.h"

#include "wholestep/backend/cuda/elements.h"

namespace wholestep {
namespace {

struct Geometry {
  std::string y, x;  ///< device types of the windows
  int64_t divisor = 0;
};

/// `size` is that of the plane pooled, `out` that of the result.
Geometry geometry_of(const KernelRequest& q, const Shape& size, const Shape& out) {
  if (q.op.starts_with("adaptive"))
    return {device_function("Bins", size[2], out[2]), device_function("Bins", size[3], out[3])};
  if (!q.attrs.has("kernel"))
    return {device_function("Anywhere", size[2], out[2]), device_function("Anywhere", size[3], out[3])};
  const auto &kernel = q.attrs.integers("kernel"), &stride = q.attrs.integers("stride"),
             &padding = q.attrs.integers("padding");
  auto axis = [&](size_t i) {
    int at = 2 + static_cast<int>(i);
    return device_function("Sliding", size[at], out[at], kernel[i], stride[i], padding[i]);
  };
  return {axis(0), axis(1), kernel[0] * kernel[1]};
}

/// A thread for every element of the result; `divides` where averages are taken.
std::unique_ptr<PreparedKernel> pool_call(const KernelRequest& q, std::string_view function, bool backward,
                                          bool divides) {
  const Shape &from = q.inputs[0].shape, &to = q.outputs[0].shape;
  Geometry g = backward ? geometry_of(q, to, from) : geometry_of(q, from, to);
  const int64_t samples = to[0], most = std::max(from.numel(), to.numel());
  CudaElements split(samples, to.numel(), 2 * kCudaThreads, samples > 0 ? most / samples : 0);
  auto call = cuda_call(q, "pool2d.cuh");
  call->phases.push_back(split.phase(kAllOperands, kAllOperands,
                                     divides
                                         ? device_function(function, split.type(), most, g.y, g.x, g.divisor)
                                         : device_function(function, split.type(), most, g.y, g.x)));
  return call;
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_max_pool2d_cuda(const KernelRequest& q) {
  return pool_call(q, "max_pool2d", false, false);
}
std::unique_ptr<PreparedKernel> prepare_max_pool2d_dx_cuda(const KernelRequest& q) {
  return pool_call(q, "max_pool2d_dx", true, false);
}
std::unique_ptr<PreparedKernel> prepare_avg_pool2d_cuda(const KernelRequest& q) {
  return pool_call(q, "avg_pool2d", false, true);
}
std::unique_ptr<PreparedKernel> prepare_avg_pool2d_dx_cuda(const KernelRequest& q) {
  return pool_call(q, "avg_pool2d_dx", true, true);
}

}  // namespace wholestep
