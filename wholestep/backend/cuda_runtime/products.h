// Products of matrices by cuBLASLt.
#pragma once
#include <cublasLt.h>

#include <string>

#include "wholestep/backend/cuda/library_call.h"
#include "wholestep/backend/cuda_runtime/library_algorithm.h"

namespace wholestep {

/// Of the current device. cuBLASLt is loaded when the first product asks for it.
class ProductLibrary {
 public:
  ProductLibrary() = default;
  ~ProductLibrary();
  ProductLibrary(const ProductLibrary&) = delete;
  ProductLibrary& operator=(const ProductLibrary&) = delete;

  Proposals propose(const CudaProduct& product);
  std::string version() const;

 private:
  cublasLtHandle_t handle_ = nullptr;
};

}  // namespace wholestep
