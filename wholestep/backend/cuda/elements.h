// How CUDA kernels share out the elements of a result, and the texts that tell elements.cuh so.
#pragma once
#include <functional>
#include <span>

#include "wholestep/backend/cuda/call.h"

namespace wholestep {

/// Rows longer than this are worth more than one block each.
constexpr int64_t kCudaMaxRowElements = 16384;

/// Elements of a result by rows, where there are several and none is long, else in runs of per_chunk.
struct CudaElements {
  /// `longest`: elements of a row of the largest operand taken by rows, so that one block is not left to read
  /// much; at least the result's own.
  CudaElements(int64_t rows, int64_t elements, int64_t per_chunk, int64_t longest = 0);
  int64_t rows, elements, per_chunk;  ///< rows 0: in runs
  std::string type() const;           ///< "Elements<64, 7680, 2048>"
  CudaPhase phase(uint64_t row_inputs, uint64_t row_outputs, std::string run, int64_t shared_bytes = 0) const;
};

/// "Axes<64, 120, 10, 1>" of extents and strides.
std::string cuda_axes(std::span<const int64_t> extents, std::span<const int64_t> strides);
/// Nested conditions that run leaf(k) for the first k with index < ends[k]; the last is not asked.
std::string cuda_branch(std::string_view index, std::span<const int64_t> ends,
                        const std::function<std::string(size_t)>& leaf);
/// A device function of its own from everything behind its name, named by its content; `called`: not inlined.
std::string cuda_define(CudaCall& call, std::string_view prefix, const std::string& body,
                        bool called = false);

/// The power of two at or above n, at most `most` threads.
int64_t cuda_group(int64_t n, int64_t most = kCudaThreads);

}  // namespace wholestep
