// Writes the regions of a program as CUDA C++: one kernel a region, its lane sets side by side in the grid,
// the phases of a lane one after the other in a block.
#pragma once
#include <string>
#include <vector>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/regions.h"

namespace wholestep {

/// One kernel of the source, with what a launch of it needs.
struct CudaKernelSource {
  int region = 0;  ///< whose phases it has
  std::string name;
  int64_t blocks = 0, shared_bytes = 0;
  std::vector<int> arenas;  ///< numbers of the program's arenas whose addresses are its arguments, in order
};

/// A phase that is no part of a kernel, with the places of its operands.
struct CudaLibraryStep {
  int region = 0;
  std::string label;  ///< of its call
  LibraryCall call;
  BufferRef a, b, bias, d, scratch;
};

/// What runs of a region, at the same time: at most one kernel, and calls of libraries.
struct CudaSource {
  std::string text;
  std::vector<CudaKernelSource> kernels;       ///< in the order of their regions
  std::vector<CudaLibraryStep> library_steps;  ///< the same
};

/// A phase as it stands in the source.
struct CudaStep {
  int region;
  std::string label;  ///< of its call
  std::string run;
  int64_t blocks;
};

CudaSource write_regions(const Program& program, const Regions& regions);
/// The same, where the first block of every lane set leaves its cycle counter before and after each step:
/// kernels take the address of 2 uint64 a step as their last argument, in the order of `steps`.
CudaSource write_timed_regions(const Program& program, const Regions& regions, std::vector<CudaStep>& steps);
/// The phases of one call as kernels of their own, to run it alone.
CudaSource write_call(const Call& call);

/// A text the source includes by name.
struct CudaHeader {
  std::string name, text;
};
const std::vector<CudaHeader>& cuda_headers();

}  // namespace wholestep
