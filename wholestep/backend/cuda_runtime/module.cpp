#include "wholestep/backend/cuda_runtime/module.h"

#include <algorithm>

#include "wholestep/backend/cuda_runtime/check.h"
#include "wholestep/backend/cuda_runtime/compiler.h"
#include "wholestep/backend/cuda_runtime/queue.h"

namespace wholestep {
namespace {

/// Calls fn(parameters of the launch), whose arguments live only as long.
template <class Fn>
void with_launch(const CudaKernelSource& kernel, cudaKernel_t function, std::span<std::byte* const> arenas,
                 void* last_argument, Fn&& fn) {
  std::vector<void*> values, arguments;
  for (int arena : kernel.arenas) values.push_back(arenas[static_cast<size_t>(arena)]);
  if (last_argument) values.push_back(last_argument);
  for (void*& value : values) arguments.push_back(&value);
  cudaKernelNodeParams launch{};
  launch.func = reinterpret_cast<void*>(function);
  launch.gridDim = {static_cast<unsigned>(kernel.blocks), 1, 1};
  launch.blockDim = {static_cast<unsigned>(kCudaThreads), 1, 1};
  launch.sharedMemBytes = static_cast<unsigned>(kernel.shared_bytes);
  launch.kernelParams = arguments.data();
  fn(launch);
}

/// kFailure that names the architecture, where code is not for this GPU or not code.
void check_loading(cudaError_t code, const std::string& doing, const std::string& architecture) {
  const bool other_code = code == cudaErrorNoKernelImageForDevice || code == cudaErrorInvalidKernelImage ||
                          code == cudaErrorInvalidPtx || code == cudaErrorUnsupportedPtxVersion;
  if (!other_code) return check_cuda(code, doing);
  throw Error(ErrorCode::kFailure,
              {.what = "compiled kernels do not run on this GPU",
               .got = std::string(cudaGetErrorName(code)) + ": " + cudaGetErrorString(code),
               .expected = "code for " + architecture,
               .hint = "remove the folder wholestep/cuda of the cache, where it was kept, and run again"});
}

}  // namespace

CudaGraph::CudaGraph() { check_cuda(cudaGraphCreate(&graph_, 0), "making a graph"); }

CudaModule::CudaModule(CudaSource source, const std::string& architecture, CudaLibraries& libraries)
    : source_(std::move(source)) {
  auto work_of = [&](int region) -> Work& {
    auto at = std::ranges::lower_bound(work_, region, {}, &Work::region);
    if (at == work_.end() || at->region != region)
      at = work_.insert(at, {.region = region, .kernel = {}, .library_steps = {}});
    return *at;
  };
  for (size_t i = 0; i < source_.kernels.size(); ++i) work_of(source_.kernels[i].region).kernel = i;
  for (size_t i = 0; i < source_.library_steps.size(); ++i) {
    work_of(source_.library_steps[i].region).library_steps.push_back(i);
    algorithms_.push_back(libraries.prepare(source_.library_steps[i].call));
  }
  if (source_.kernels.empty()) return;
  code_ = compile_cuda_cached(source_, architecture);
  check_loading(cudaLibraryLoadData(&library_, code_.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
                "loading kernels", architecture);
  for (const CudaKernelSource& kernel : source_.kernels) {
    cudaKernel_t function = nullptr;
    check_loading(cudaLibraryGetKernel(&function, library_, kernel.name.c_str()), "finding a kernel",
                  architecture);
    check_loading(cudaFuncSetAttribute(reinterpret_cast<const void*>(function),
                                       cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(kernel.shared_bytes)),
                  "asking for shared memory", architecture);
    functions_.push_back(function);
  }
}

CudaModule::~CudaModule() {
  if (library_) cudaLibraryUnload(library_);
}

void CudaModule::launch_all(std::span<std::byte* const> arenas, cudaStream_t stream,
                            void* last_argument) const {
  auto launch = [&](const cudaKernelNodeParams& p) {
    check_cuda(cudaLaunchKernel(p.func, p.gridDim, p.blockDim, p.kernelParams, p.sharedMemBytes, stream),
               "launching a kernel");
  };
  for (const Work& work : work_) {
    if (work.kernel)
      with_launch(source_.kernels[*work.kernel], functions_[*work.kernel], arenas, last_argument, launch);
    for (size_t step : work.library_steps) run_library_step(step, arenas, stream);
  }
}

cudaGraphNode_t CudaModule::add_kernel(cudaGraph_t graph, size_t index,
                                       std::span<std::byte* const> arenas) const {
  cudaGraphNode_t node = nullptr;
  with_launch(
      source_.kernels[index], functions_[index], arenas, nullptr, [&](const cudaKernelNodeParams& launch) {
        check_cuda(cudaGraphAddKernelNode(&node, graph, nullptr, 0, &launch), "adding a kernel to a graph");
      });
  return node;
}

CudaGraph CudaModule::capture_library_step(size_t index, std::span<std::byte* const> arenas) const {
  CudaStream stream;
  check_cuda(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeRelaxed), "capturing a library call");
  run_library_step(index, arenas, stream.get());
  cudaGraph_t graph = nullptr;
  check_cuda(cudaStreamEndCapture(stream.get(), &graph), "capturing a library call");
  return CudaGraph(graph);
}

void CudaModule::run_library_step(size_t index, std::span<std::byte* const> arenas,
                                  cudaStream_t stream) const {
  const CudaLibraryStep& step = source_.library_steps[index];
  auto at = [&](BufferRef ref) { return arenas[static_cast<size_t>(ref.arena)] + ref.offset; };
  algorithms_[index]->run({at(step.a), at(step.b), at(step.bias), at(step.d), at(step.scratch)}, stream);
}

}  // namespace wholestep
