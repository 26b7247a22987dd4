// For tests that need a GPU: skipped with the reason where there is none.
#pragma once
#include <gtest/gtest.h>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/cuda/library.h"

namespace wholestep::test {

/// Why no GPU can be used; "" where one can.
inline std::string no_cuda_device() {
  CudaReport report = cuda_report();
  if (!report.refusal.empty()) return report.refusal;
  return report.devices.empty() ? "no device" : report.devices[0].refusal;
}

/// While alive, products are exact f32, no TF32.
struct ExactF32 {
  ExactF32() { set_tf32_allowed(false); }
  ~ExactF32() { set_tf32_allowed(true); }
};

/// While alive, plans are made for this architecture, 80 for sm_80, not for the newest.
struct PlansFor {
  explicit PlansFor(int architecture) { set_cuda_architecture(architecture); }
  ~PlansFor() { set_cuda_architecture(newest); }
  const int newest = cuda_architecture();
};

/// While alive, the GPU is given what one of this architecture would be; no backend taken before is used.
struct CappedAt {
  explicit CappedAt(int architecture) : plans(architecture) { set_cuda_architecture_cap(architecture); }
  ~CappedAt() { set_cuda_architecture_cap(0); }
  const PlansFor plans;  // afterwards those of the GPU again
};

/// While alive, libraries compute everything that they can.
struct EverythingByLibraries {
  EverythingByLibraries() { set_library_use(LibraryUse::kAlways); }
  ~EverythingByLibraries() { set_library_use(LibraryUse::kWhereAhead); }
};

/// Whether a kernel named so runs on the device in use.
inline bool runs_here(std::string_view kernel) { return kernel != "cuDNN" || cudnn_available(); }

/// While alive, plans are made as if there were no cuDNN.
struct WithoutCudnn {
  WithoutCudnn() { set_cudnn_available(false); }
  ~WithoutCudnn() { set_cudnn_available(available); }
  const bool available = cudnn_available();
};

}  // namespace wholestep::test

#define WHOLESTEP_NEEDS_CUDA_DEVICE()                                    \
  if (std::string why = wholestep::test::no_cuda_device(); !why.empty()) \
  GTEST_SKIP() << "needs a GPU: " << why
