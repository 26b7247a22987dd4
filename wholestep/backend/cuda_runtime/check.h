// CUDA's error codes as errors.
#pragma once
#include <cuda_runtime_api.h>

#include <string>

#include "wholestep/base/error.h"

namespace wholestep {

/// kFailure saying what was done and CUDA's name and words for what went wrong.
inline void check_cuda(cudaError_t code, const std::string& doing, const std::string& where = "",
                       const std::string& hint = "") {
  if (code == cudaSuccess) return;
  throw Error(ErrorCode::kFailure,
              {.what = "the GPU reported a fault while " + doing,
               .where = where,
               .got = std::string(cudaGetErrorName(code)) + ": " + cudaGetErrorString(code),
               .hint = hint});
}

}  // namespace wholestep
