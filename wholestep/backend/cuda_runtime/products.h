// Products of matrices by cuBLASLt. Of the algorithms it proposes for a product the fastest is taken that
// gives the bits of the first one, so that timing never changes a result; the choice is kept on disk.
#pragma once
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "wholestep/backend/cuda/call.h"

namespace wholestep {

/// One product with its algorithm.
class LibraryProduct {
 public:
  LibraryProduct(cublasLtHandle_t library, const CudaProduct& product, const cublasLtMatmulAlgo_t& algorithm)
      : library_(library), product_(product), algorithm_(algorithm) {}
  /// Queues it; `bias` may be null where there is none. kFailure with cuBLASLt's words.
  void run(const void* a, const void* b, const void* bias, void* d, void* scratch, cudaStream_t stream) const;

 private:
  cublasLtHandle_t library_;
  CudaProduct product_;
  cublasLtMatmulAlgo_t algorithm_;
};

/// The products of one device, the current one.
class ProductLibrary {
 public:
  explicit ProductLibrary(int device) : device_(device) {}
  ~ProductLibrary();
  ProductLibrary(const ProductLibrary&) = delete;
  ProductLibrary& operator=(const ProductLibrary&) = delete;

  /// The first time chooses an algorithm, in device memory of its own that it gives back; where there is
  /// none, the first one. kFailure where cuBLASLt knows none.
  std::shared_ptr<const LibraryProduct> prepare(const CudaProduct& product);

 private:
  cublasLtMatmulAlgo_t choose(const CudaProduct& product) const;

  int device_;
  std::mutex mutex_;
  cublasLtHandle_t library_ = nullptr;
  std::map<std::string, std::shared_ptr<const LibraryProduct>> prepared_;  // by CudaProduct::text()
};

}  // namespace wholestep
