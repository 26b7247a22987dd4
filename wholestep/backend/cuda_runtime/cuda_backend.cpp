// The CUDA backend: device memory, and executables that are one graph. Everything runs on one stream.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstring>
#include <map>
#include <mutex>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/backend/cuda_runtime/check.h"
#include "wholestep/backend/cuda_runtime/compiler.h"
#include "wholestep/backend/cuda_runtime/feed.h"
#include "wholestep/backend/cuda_runtime/module.h"
#include "wholestep/backend/cuda_runtime/queue.h"
#include "wholestep/base/version.h"

namespace wholestep {
namespace {

/// Between the kernels of one graph there is less of a gap than between graphs.
constexpr int64_t kStepsPerSubmission = 16;

class DeviceMemory final : public Memory {
 public:
  /// Cleared in the order of the queue, which every later copy and kernel keeps to.
  DeviceMemory(int64_t bytes, CudaQueue& queue) : counters_(queue.counters) {
    bytes_ = bytes;
    void* pointer = nullptr;
    size_t rounded = static_cast<size_t>(std::max<int64_t>(bytes, 1));
    if (cudaError_t code = cudaMalloc(&pointer, rounded); code != cudaSuccess) {
      cudaGetLastError();
      if (code != cudaErrorMemoryAllocation) check_cuda(code, "allocating memory");
      size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      throw Error(ErrorCode::kPlanRefused,
                  {.what = "the GPU has not enough memory",
                   .got = fmt::format("{} bytes asked for ({})", bytes, cudaGetErrorName(code)),
                   .expected = fmt::format("at most {} bytes, what is free of {}", free, total),
                   .hint = "a smaller batch, or another GPU"});
    }
    data_ = static_cast<std::byte*>(pointer);
    check_cuda(cudaMemsetAsync(pointer, 0, rounded, queue.stream()), "clearing memory");
    ++counters_.allocations;
    counters_.bytes_in_use += bytes_;
  }
  ~DeviceMemory() override {
    counters_.bytes_in_use -= bytes_;
    cudaFree(data_);
  }

 private:
  CudaQueue::Counters& counters_;
};

int attribute(cudaDeviceAttr what, int device) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, what, device), "asking what the device is like");
  return value;
}

int architecture_of(const CudaDevice& device) { return 10 * device.major + device.minor; }

/// What kernels are written and compiled for. Where that is the GPU's own architecture, for it alone, on
/// Hopper with what later ones do not have.
struct Target {
  int architecture;      ///< 80 for sm_80
  std::string compiled;  ///< "sm_90a", "compute_80"
  Target(int of, const CudaDevice& device)
      : architecture(of),
        compiled(of == architecture_of(device) ? fmt::format("sm_{}{}", of, of / 10 == 9 ? "a" : "")
                                               : fmt::format("compute_{}", of)) {}
  /// Before kernels are written.
  void choose() const { set_cuda_architecture(architecture); }
};

class CudaExecutable final : public Executable {
 public:
  CudaExecutable(const Program& program, std::span<std::byte* const> arenas, int device, const Target& target,
                 CudaQueue& queue, CudaLibraries& libraries)
      : program_(program),
        arenas_(arenas.begin(), arenas.end()),
        device_(device),
        multiprocessors_(attribute(cudaDevAttrMultiProcessorCount, device)),
        shared_of_two_(attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, device) -
                       2 * attribute(cudaDevAttrReservedSharedMemoryPerBlock, device)),
        target_(target),
        queue_(queue),
        libraries_(libraries),
        alone_(program.calls.size()) {
    target_.choose();
    std::vector<ScheduledKernel> schedule;
    for (const Call& call : program.calls) schedule.push_back(call.kernel);
    regions_ = build_regions(schedule, kCudaPlacement);
    module_ = load(write_regions(program, regions_));
    step_ = capture(1, module_->work());
    steps_ = capture(kStepsPerSubmission, module_->work());
    what_ = std::make_shared<const std::string>(
        fmt::format("a step of {} kernels for {} calls", module_->launches(), program.calls.size()));
  }
  ~CudaExecutable() override {
    cudaStreamSynchronize(queue_.stream());
    cudaGraphExecDestroy(step_);
    cudaGraphExecDestroy(steps_);
  }

  void run(int64_t steps) override {
    for (; steps >= kStepsPerSubmission; steps -= kStepsPerSubmission) queue_.submit(steps_, what_);
    for (; steps > 0; --steps) queue_.submit(step_, what_);
  }

  void run_call(size_t index) override {
    queue_.wait("before running a call alone");
    target_.choose();
    if (!alone_[index]) alone_[index] = load(write_call(program_.calls[index]));
    alone_[index]->launch_all(arenas_, queue_.stream());
    check_cuda(cudaStreamSynchronize(queue_.stream()), "running " + program_.calls[index].kernel.label,
               fmt::format("call {} of {}", index, program_.calls.size()),
               "this process has lost the GPU; checkpoints written before are whole");
  }
  int64_t barriers() const override { return static_cast<int64_t>(module_->launches()); }

  std::vector<PhaseTime> profile() override {
    target_.choose();
    std::vector<CudaStep> steps;
    const std::unique_ptr<CudaModule> timed = load(write_timed_regions(program_, regions_, steps));
    DeviceMemory stamps(static_cast<int64_t>(steps.size()) * 16, queue_);
    const cudaStream_t stream = queue_.stream();
    for (int round = 0; round < 3; ++round)  // the last one finds everything in the caches
      timed->launch_all(arenas_, stream, stamps.data());
    std::vector<uint64_t> cycles(steps.size() * 2);
    check_cuda(
        cudaMemcpyAsync(cycles.data(), stamps.data(), cycles.size() * 8, cudaMemcpyDeviceToHost, stream),
        "reading times");
    check_cuda(cudaStreamSynchronize(stream), "timing a step");
    int kilohertz = attribute(cudaDevAttrClockRate, device_);
    std::vector<PhaseTime> times;
    size_t step = 0;
    for (const CudaModule::Work& work : module_->work()) {
      times.push_back({.region = work.region,
                       .label = "",
                       .what = "",
                       .blocks = regions_.regions[static_cast<size_t>(work.region)].lanes,
                       .microseconds = microseconds_of(work)});
      for (; step < steps.size() && steps[step].region == work.region; ++step)
        times.push_back({.region = work.region,
                         .label = steps[step].label,
                         .what = steps[step].run,
                         .blocks = steps[step].blocks,
                         .microseconds = static_cast<double>(cycles[2 * step + 1] - cycles[2 * step]) * 1000 /
                                         static_cast<double>(kilohertz)});
      for (size_t index : work.library_steps) {
        const CudaLibraryStep& of = module_->library_step(index);
        times.push_back({.region = work.region,
                         .label = of.label,
                         .what = text(of.call),
                         .blocks = cuda_library_phase(of.call).chunks,
                         .microseconds = microseconds_of({work.region, {}, {index}})});
      }
    }
    return times;
  }

 private:
  std::unique_ptr<CudaModule> load(CudaSource source) const {
    return std::make_unique<CudaModule>(std::move(source), target_.compiled, libraries_);
  }

  /// Of one region, repeated in a graph, each after the one before it has ended.
  double microseconds_of(const CudaModule::Work& work) const {
    constexpr int kRepeats = 100;
    const cudaStream_t stream = queue_.stream();
    CudaEvent begin(cudaEventDefault), end(cudaEventDefault);
    cudaGraphExec_t repeated = capture(kRepeats, std::span(&work, 1));
    float milliseconds = 0;
    for (int round = 0; round < 2; ++round) {
      cudaEventRecord(begin.get(), stream);
      cudaGraphLaunch(repeated, stream);
      cudaEventRecord(end.get(), stream);
      check_cuda(cudaEventSynchronize(end.get()), "timing a region");
      check_cuda(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "timing a region");
    }
    cudaGraphExecDestroy(repeated);
    return static_cast<double>(milliseconds) * 1000 / kRepeats;
  }

  /// Whether blocks of a kernel may take their places while those of the one before run. Where too few
  /// multiprocessors are idle they crowd on those, and stay there, which costs heavy ones more than they
  /// gain, unless they are few or two of them do not fit together. Kernels for older architectures do not
  /// wait for the one before.
  bool may_come_early(const CudaKernelSource& before, const CudaKernelSource& kernel) const {
    if (target_.architecture < 90) return false;
    if (kernel.shared_bytes <= kCudaSharedWithOthers) return true;
    const int64_t idle = multiprocessors_ - before.blocks, room = shared_of_two_ - kernel.shared_bytes;
    if (idle > 0 && ceil_div(kernel.blocks, idle) == ceil_div(kernel.blocks, multiprocessors_)) return true;
    const bool few = 2 * kernel.blocks <= multiprocessors_,
               alone = kernel.blocks <= multiprocessors_ && room < kernel.shared_bytes;
    return before.shared_bytes <= room && (few || alone);
  }

  /// Regions, `times` over, each after the one before it. With a programmatic edge a kernel's blocks take
  /// their places while the one before it ends, and wait there before they read.
  cudaGraphExec_t capture(int64_t times, std::span<const CudaModule::Work> regions) const {
    const CudaGraph graph;
    std::map<size_t, CudaGraph> captured;
    for (const CudaModule::Work& work : regions)
      for (size_t index : work.library_steps)
        captured.try_emplace(index, module_->capture_library_step(index, arenas_));
    const CudaModule::Work* before = nullptr;
    std::vector<cudaGraphNode_t> last, nodes;
    for (int64_t i = 0; i < times; ++i)
      for (const CudaModule::Work& work : regions) {
        nodes.clear();
        if (work.kernel) nodes.push_back(module_->add_kernel(graph.get(), *work.kernel, arenas_));
        for (size_t index : work.library_steps) {
          cudaGraphNode_t node = nullptr;
          check_cuda(cudaGraphAddChildGraphNode(&node, graph.get(), nullptr, 0, captured.at(index).get()),
                     "adding a library call to a graph");
          nodes.push_back(node);
        }
        cudaGraphEdgeData edge{};
        if (before && before->is_kernel() && work.is_kernel() &&
            may_come_early(module_->kernel(*before->kernel), module_->kernel(*work.kernel))) {
          edge.from_port = cudaGraphKernelNodePortProgrammatic;
          edge.type = cudaGraphDependencyTypeProgrammatic;
        }
        for (cudaGraphNode_t from : last)
          for (cudaGraphNode_t to : nodes)
            check_cuda(cudaGraphAddDependencies(graph.get(), &from, &to, &edge, 1),
                       "ordering the kernels of a graph");
        last = nodes, before = &work;
      }
    cudaGraphExec_t executable = nullptr;
    check_cuda(cudaGraphInstantiate(&executable, graph.get(), 0), "instantiating a graph");
    return executable;
  }

  Program program_;
  std::vector<std::byte*> arenas_;
  int device_;
  int64_t multiprocessors_, shared_of_two_;  ///< what two blocks of a multiprocessor have together
  Target target_;
  CudaQueue& queue_;
  CudaLibraries& libraries_;
  std::shared_ptr<const std::string> what_;
  Regions regions_;
  std::unique_ptr<CudaModule> module_;
  std::vector<std::unique_ptr<CudaModule>> alone_;
  cudaGraphExec_t step_ = nullptr, steps_ = nullptr;  // one step; kStepsPerSubmission of them
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(const CudaDevice& device, int architecture)
      : device_(device.index), target_(architecture, device), libraries_(device.index) {
    check_cuda(cudaSetDevice(device_), "choosing a device");
    queue_ = std::make_unique<CudaQueue>();
  }

  std::string_view name() const override { return "cuda"; }
  std::shared_ptr<Memory> allocate(int64_t bytes) override {
    check_cuda(cudaSetDevice(device_), "choosing a device");
    return std::make_shared<DeviceMemory>(bytes, *queue_);
  }
  void copy_in(std::byte* device, const std::byte* host, int64_t bytes) override {
    copy_and_wait(device, host, bytes, cudaMemcpyHostToDevice, "copying to the GPU");
    queue_->counters.copied_in += bytes;
  }
  void copy_out(std::byte* host, const std::byte* device, int64_t bytes) override {
    copy_and_wait(host, device, bytes, cudaMemcpyDeviceToHost, "copying from the GPU");
    queue_->counters.copied_out += bytes;
  }
  void copy(std::byte* to, const std::byte* from, int64_t bytes) override {
    if (bytes == 0) return;
    queue_->check(
        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, queue_->stream()),
        "copying on the GPU");
  }
  void run(const PreparedKernel& kernel, std::span<const void* const> inputs, std::span<void* const> outputs,
           std::byte* workspace) override {
    // Operands are arenas of their own: inputs, outputs, workspace.
    std::vector<std::byte*> arenas;
    Call call;
    call.kernel.kernel = std::shared_ptr<const PreparedKernel>(&kernel, [](const PreparedKernel*) {});
    auto add = [&](const void* pointer) {
      arenas.push_back(const_cast<std::byte*>(static_cast<const std::byte*>(pointer)));
      return BufferRef{static_cast<int>(arenas.size()) - 1, 0};
    };
    for (const void* pointer : inputs) {
      call.inputs.push_back(add(pointer));
      call.kernel.inputs.push_back(call.inputs.back().arena);
    }
    for (void* pointer : outputs) {
      call.outputs.push_back(add(pointer));
      call.kernel.outputs.push_back(call.outputs.back().arena);
    }
    call.workspace = add(workspace);
    check_cuda(cudaSetDevice(device_), "choosing a device");
    static const auto what = std::make_shared<const std::string>("eager ops");
    std::lock_guard lock(loading_);
    target_.choose();
    if (!kernel.loaded)
      kernel.loaded = std::make_shared<const CudaModule>(write_call(call), target_.compiled, libraries_);
    queue_->began(what);
    std::static_pointer_cast<const CudaModule>(kernel.loaded)->launch_all(arenas, queue_->stream());
  }
  Placement placement() const override { return kCudaPlacement; }
  std::unique_ptr<Executable> load(const Program& program, std::span<std::byte* const> arenas) override {
    check_cuda(cudaSetDevice(device_), "choosing a device");
    return std::make_unique<CudaExecutable>(program, arenas, device_, target_, *queue_, libraries_);
  }
  int64_t steps_per_submission() const override { return kStepsPerSubmission; }
  int64_t feed_depth() const override { return kCudaFeedDepth; }
  std::unique_ptr<Feed> make_feed(int64_t bytes) override {
    check_cuda(cudaSetDevice(device_), "choosing a device");
    return make_cuda_feed(*this, *queue_, bytes);
  }
  void record(Timeline* timeline) override { queue_->record(timeline); }
  BackendCounters counters() const override {
    const CudaQueue::Counters& c = queue_->counters;
    return {.allocations = c.allocations,
            .bytes_in_use = c.bytes_in_use,
            .submissions = c.submissions,
            .copied_in_bytes = c.copied_in,
            .copied_out_bytes = c.copied_out};
  }

 private:
  void copy_and_wait(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind, const char* doing) {
    if (bytes == 0) return;
    queue_->check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, queue_->stream()), doing);
    queue_->wait(doing);
  }

  int device_;
  Target target_;
  std::unique_ptr<CudaQueue> queue_;
  CudaLibraries libraries_;
  std::mutex loading_;  // of eager kernels
};

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

CudaReport report() {
  CudaReport result;
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  const std::string cudnn = cudnn_version(result.cudnn_refusal);
  result.versions = fmt::format(
      "driver {}, runtime {}, NVRTC {}, {}", driver ? version_text(driver) : "none", version_text(runtime),
      nvrtc_version(), cudnn.empty() ? fmt::format("no cuDNN: {}", result.cudnn_refusal) : "cuDNN " + cudnn);
  if (cudaError_t code = cudaGetDeviceCount(&count); code != cudaSuccess || count == 0) {
    cudaGetLastError();
    if (driver == 0) result.refusal = "there is no NVIDIA driver";
    else if (code == cudaErrorInsufficientDriver)
      result.refusal = fmt::format("the NVIDIA driver is for CUDA {}, older than the {} of the libraries",
                                   version_text(driver), version_text(runtime));
    else if (code == cudaErrorNoDevice || code == cudaSuccess)
      result.refusal = "the NVIDIA driver found no GPU";
    else result.refusal = fmt::format("{}: {}", cudaGetErrorName(code), cudaGetErrorString(code));
    return result;
  }
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    CudaDevice device{.index = i, .name = "", .refusal = ""};
    if (cudaError_t code = cudaGetDeviceProperties(&properties, i); code != cudaSuccess) {
      device.refusal = cudaGetErrorString(code);
      result.devices.push_back(device);
      continue;
    }
    device.name = properties.name;
    device.major = properties.major;
    device.minor = properties.minor;
    device.multiprocessors = properties.multiProcessorCount;
    device.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
    device.refusal = architecture_refusal(device.major, device.minor);
    if (size_t free = 0, total = 0; device.refusal.empty()) {
      if (cudaSetDevice(i) == cudaSuccess && cudaMemGetInfo(&free, &total) == cudaSuccess)
        device.free_bytes = static_cast<int64_t>(free);
      else device.refusal = cudaGetErrorString(cudaGetLastError());
    }
    result.devices.push_back(device);
  }
  return result;
}

Backend& backend(int index, int architecture_cap) {
  static std::mutex mutex;
  static std::map<std::pair<int, int>, std::unique_ptr<CudaBackend>> backends;
  std::lock_guard lock(mutex);
  std::unique_ptr<CudaBackend>& backend = backends[{index, architecture_cap}];
  if (backend) return *backend;
  CudaReport found = report();
  if (std::string why = device_refusal(found, index); !why.empty())
    throw Error(ErrorCode::kBadConfig,
                {.what = fmt::format("CUDA device {} cannot be used", index),
                 .got = why,
                 .expected = "an NVIDIA GPU of sm_80 or later, its driver, and the CUDA 13 libraries",
                 .hint = "--device cpu, or see `wholestep devices`"});
  const CudaDevice& device = found.devices[static_cast<size_t>(index)];
  const int own = architecture_of(device);
  if (architecture_cap > own)
    throw Error(ErrorCode::kBadConfig,
                {.what = fmt::format("CUDA device {} is older than the architecture asked for", index),
                 .got = fmt::format("sm_{}", architecture_cap),
                 .expected = fmt::format("at most sm_{}", own)});
  backend = std::make_unique<CudaBackend>(device, architecture_cap > 0 ? architecture_cap : own);
  return *backend;
}

}  // namespace
}  // namespace wholestep

extern "C" __attribute__((visibility("default"))) const wholestep::CudaLibrary& wholestep_cuda_library() {
  static const std::string version(wholestep::version());
  static const wholestep::CudaLibrary library = {version.c_str(), wholestep::report, wholestep::backend,
                                                 wholestep::compile_cuda};
  return library;
}
