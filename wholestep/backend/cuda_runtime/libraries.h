// Calls of CUDA's libraries on one device. Of the algorithms a library proposes for one the fastest is taken
// that gives the bits of the first, so that timing never changes a result; the choice is kept on disk.
#pragma once
#include <map>
#include <mutex>
#include <string>

#include "wholestep/backend/cuda_runtime/convolutions.h"
#include "wholestep/backend/cuda_runtime/products.h"

namespace wholestep {

/// Of the current device.
class CudaLibraries {
 public:
  explicit CudaLibraries(int device) : device_(device) {}

  /// The first time chooses an algorithm, in device memory of its own that it gives back; where there is
  /// none, the first one. kFailure where the library knows none.
  std::shared_ptr<const LibraryAlgorithm> prepare(const LibraryCall& call);

 private:
  std::shared_ptr<const LibraryAlgorithm> choose(const LibraryCall& call);

  int device_;
  std::mutex mutex_;
  ProductLibrary products_;
  ConvolutionLibrary convolutions_;
  std::map<std::string, std::shared_ptr<const LibraryAlgorithm>> prepared_;  // by their text
};

}  // namespace wholestep
