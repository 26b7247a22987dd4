// What a source holds, loaded: the kernels and the library calls of its regions, ready to be launched or to
// become nodes of a graph.
#pragma once
#include <optional>
#include <span>
#include <utility>

#include "wholestep/backend/cuda/region_source.h"
#include "wholestep/backend/cuda_runtime/libraries.h"

namespace wholestep {

/// A graph that has not been instantiated.
class CudaGraph {
 public:
  CudaGraph();
  explicit CudaGraph(cudaGraph_t graph) : graph_(graph) {}
  CudaGraph(CudaGraph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  CudaGraph& operator=(CudaGraph&&) = delete;
  ~CudaGraph() {
    if (graph_) cudaGraphDestroy(graph_);
  }
  cudaGraph_t get() const { return graph_; }

 private:
  cudaGraph_t graph_ = nullptr;
};

class CudaModule {
 public:
  CudaModule(CudaSource source, const std::string& architecture, CudaLibraries& libraries);
  ~CudaModule();
  CudaModule(const CudaModule&) = delete;
  CudaModule& operator=(const CudaModule&) = delete;

  /// What runs of one region, side by side: indices of kernels and library calls.
  struct Work {
    int region = 0;
    std::optional<size_t> kernel;
    std::vector<size_t> library_steps;
    bool is_kernel() const { return kernel && library_steps.empty(); }
  };
  /// Of the regions that have any, in order.
  std::span<const Work> work() const { return work_; }
  const CudaKernelSource& kernel(size_t index) const { return source_.kernels[index]; }
  const CudaLibraryStep& library_step(size_t index) const { return source_.library_steps[index]; }
  size_t launches() const { return source_.kernels.size() + source_.library_steps.size(); }

  /// Queues everything, region after region. `last_argument` goes to every kernel, where it is not null.
  void launch_all(std::span<std::byte* const> arenas, cudaStream_t stream,
                  void* last_argument = nullptr) const;
  /// A node of `graph` without edges.
  cudaGraphNode_t add_kernel(cudaGraph_t graph, size_t index, std::span<std::byte* const> arenas) const;
  /// What a node made of it runs, see cudaGraphAddChildGraphNode().
  CudaGraph capture_library_step(size_t index, std::span<std::byte* const> arenas) const;

 private:
  void run_library_step(size_t index, std::span<std::byte* const> arenas, cudaStream_t stream) const;

  CudaSource source_;
  std::vector<Work> work_;
  std::vector<std::byte> code_;
  cudaLibrary_t library_ = nullptr;
  std::vector<cudaKernel_t> functions_;
  std::vector<std::shared_ptr<const LibraryAlgorithm>> algorithms_;  // of library steps
};

}  // namespace wholestep
