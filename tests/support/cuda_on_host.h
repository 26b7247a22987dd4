// Kernels written for a GPU, compiled and run on the host: a block's threads are fibers that take turns at
// barriers, blocks run one after the other. Products that four warps make together, which sm_90 alone has,
// and those of the library are not run.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "support/temp_dir.h"
#include "wholestep/backend/cuda/region_source.h"

namespace wholestep::test {

/// Why kernels cannot run here; "" where they can.
std::string no_cuda_on_host();

class CudaOnHost {
 public:
  /// std::runtime_error with the compiler's words.
  explicit CudaOnHost(const CudaSource& source);
  ~CudaOnHost();
  CudaOnHost(const CudaOnHost&) = delete;
  CudaOnHost& operator=(const CudaOnHost&) = delete;

  /// Every kernel once, in order. std::runtime_error where threads wait for each other for good.
  void run(std::span<std::byte* const> arenas) const;

 private:
  CudaSource source_;
  TempDir folder_;
  void* library_ = nullptr;
};

}  // namespace wholestep::test
