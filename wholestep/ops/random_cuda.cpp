#include "wholestep/ops/random_cuda.h"

#include "wholestep/backend/cuda/elements.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_uniform_cuda(const KernelRequest& q) {
  const Shape& out = q.outputs[0].shape;
  CudaElements split(out.rank() > 0 ? out[0] : 1, out.numel(), 4 * kCudaThreads);
  auto call = cuda_call(q, "random.cuh");
  call->phases.push_back(split.phase(
      0, 1, device_function("random_uniform", split.type(), static_cast<uint64_t>(q.attrs.integer("node")))));
  return call;
}

}  // namespace wholestep
