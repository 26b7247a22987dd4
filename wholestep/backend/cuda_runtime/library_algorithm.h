// What a library proposes for a call of it.
#pragma once
#include <cuda_runtime_api.h>

#include <memory>
#include <vector>

namespace wholestep {

/// Addresses of the operands of a LibraryCall; `bias` is not looked at where there is none.
struct LibraryOperands {
  const void *a, *b, *bias;
  void *d, *scratch;
};

/// One call with one algorithm.
class LibraryAlgorithm {
 public:
  virtual ~LibraryAlgorithm() = default;
  /// Queues it. kFailure with the library's words.
  virtual void run(const LibraryOperands& at, cudaStream_t stream) const = 0;
};

/// The library's favourite first.
using Proposals = std::vector<std::shared_ptr<const LibraryAlgorithm>>;

}  // namespace wholestep
