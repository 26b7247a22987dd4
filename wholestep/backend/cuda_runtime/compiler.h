// NVRTC, and what it made, kept on disk by content and architecture.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "wholestep/backend/cuda/region_source.h"

namespace wholestep {

/// Machine code for `architecture` ("sm_90"), or PTX ("compute_80"), which ends with a 0. kFailure with the
/// compiler's words.
std::vector<std::byte> compile_cuda(const CudaSource& source, const std::string& architecture);
/// The same, from the cache on disk where it is there.
std::vector<std::byte> compile_cuda_cached(const CudaSource& source, const std::string& architecture);
std::string nvrtc_version();  ///< "13.0"

}  // namespace wholestep
