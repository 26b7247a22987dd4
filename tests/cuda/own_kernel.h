// An op whose CUDA kernel is the body a test writes: x, y [n] of f32, one block, 512 threads, 4 KiB of shared
// memory and of workspace. The gradient goes through as it is.
#pragma once
#include <string>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/graph/op.h"

namespace wholestep::test {

constexpr int64_t kOwnWorkspace = 4096;

inline std::unique_ptr<PreparedKernel> prepare_own_kernel(const KernelRequest& request) {
  auto call = cuda_call(request, "");
  call->headers.clear();
  call->workspace_bytes = kOwnWorkspace;
  call->definitions = {
      "__device__ inline void own_kernel(Lane lane, const float* x, float* y, char* workspace) {\n" +
      request.attrs.text("body") + "\n}\n"};
  call->phases.push_back({.chunks = 1, .run = "own_kernel", .shared_bytes = 4096});
  return call;
}

inline const OpDef kOwnKernel{
    .name = "own_kernel",
    .doc = "what the attribute \"body\" says",
    .operands = {"x"},
    .infer = [](std::span<const TensorType> in, const Attrs&) -> Types { return {in[0]}; },
    .vjp = [](const OpRecord&, std::span<const Tensor> grads) -> std::vector<Tensor> { return {grads[0]}; },
    .kernels = {{.backend = "cuda", .name = "own", .prepare = prepare_own_kernel}},
};

}  // namespace wholestep::test
