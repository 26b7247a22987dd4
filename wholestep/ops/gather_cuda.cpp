// Rows by index on CUDA, by rows of the result.
#include "wholestep/ops/gather_cuda.h"

#include "wholestep/backend/cuda/elements.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_gather_cuda(const KernelRequest& q) {
  const int64_t rows = q.inputs[0].shape[0], count = q.inputs[1].shape[0],
                row_bytes = count > 0 ? q.outputs[0].bytes() / count : 0;
  // The widest word, of pieces, that divides a row.
  const int64_t piece = row_bytes % 4 == 0 ? 4 : 1,
                pieces = row_bytes % 16 == 0  ? 4
                         : row_bytes % 8 == 0 ? 2
                                              : 1,
                words = row_bytes / (piece * pieces);
  CudaElements split(count, count * words, 2 * kCudaThreads);
  auto call = cuda_call(q, "gather.cuh");
  call->phases.push_back(split.phase(2, 1,
                                     device_function("gather_rows", split.type(), rows, words,
                                                     piece == 4 ? "uint32_t" : "uint8_t", pieces)));
  return call;
}

std::unique_ptr<PreparedKernel> prepare_scatter_cuda(const KernelRequest& q) {
  const Shape& out = q.outputs[0].shape;
  const int64_t rows = out[0], width = rows > 0 ? out.numel() / rows : 0, count = q.inputs[1].shape[0];
  auto call = cuda_call(q, "gather.cuh");
  if (out.numel() == 0) call->phases.push_back({.chunks = 0});
  else
    call->phases.push_back(cuda_row_phase(rows, 0, 1, device_function("scatter_add_rows", rows, width, count),
                                          (kCudaThreads + kCudaThreads / 32) * int64_t{sizeof(int)}));
  return call;
}

std::unique_ptr<PreparedKernel> prepare_take_cuda(const KernelRequest& q) {
  const int64_t count = q.outputs[0].shape[0];
  CudaElements split(count, count, kCudaThreads);
  auto call = cuda_call(q, "gather.cuh");
  call->phases.push_back(split.phase(0, 1, device_function("take", split.type(), q.inputs[0].shape[0])));
  return call;
}

}  // namespace wholestep
