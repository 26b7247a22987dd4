// argsort on CUDA: every thread counts, for an element of its own, what comes before it.
#include "wholestep/ops/sort_cuda.h"

#include "wholestep/backend/cuda/elements.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_argsort_cuda(const KernelRequest& q) {
  const Shape& shape = q.inputs[0].shape;
  const int64_t n = shape.back(), rows = shape.rank() > 1 ? shape[0] : 1;
  CudaElements split(rows, shape.numel(), kCudaThreads);
  auto call = cuda_call(q, "sort.cuh");
  call->phases.push_back(
      split.phase(1, 1, device_function("argsort_rows", split.type(), n, q.attrs.flag("descending"))));
  return call;
}

}  // namespace wholestep
