// The shared library that compiles and runs CUDA kernels, loaded the first time somebody asks for a GPU, so
// that one program runs with and without one.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "wholestep/backend/backend.h"
#include "wholestep/backend/cuda/region_source.h"

namespace wholestep {

struct CudaDevice {
  int index = 0;
  std::string name;          ///< "NVIDIA H200"
  int major = 0, minor = 0;  ///< compute capability
  int64_t memory_bytes = 0, free_bytes = 0;
  int multiprocessors = 0;
  std::string refusal;  ///< why it cannot be used; "" where it can
};

struct CudaReport {
  std::vector<CudaDevice> devices;
  std::string versions;            ///< "driver 13.0, runtime 13.0, NVRTC 13.0, cuDNN 9.19.0"
  std::string refusal;             ///< why there are no devices; "" where there are some
  std::string cudnn_refusal = {};  ///< why there is no cuDNN; "" where there is
};

/// What the library offers: the one symbol it exports gives this.
struct CudaLibrary {
  const char* version;  ///< of the project; another one's is not loaded
  CudaReport (*report)();
  /// kBadConfig where the device cannot be used, or is older than the cap; 0: no cap.
  Backend& (*backend)(int device, int architecture_cap);
  /// Machine code for an architecture, "sm_90", or PTX for those from one on, "compute_80". kFailure with the
  /// compiler's words. Needs no device.
  std::vector<std::byte> (*compile)(const CudaSource& source, const std::string& architecture);
};

/// Why a device of this compute capability cannot be used; "" where it can.
std::string architecture_refusal(int major, int minor);
/// Why device `index` of the report cannot be used; "" where it can.
std::string device_refusal(const CudaReport& report, int index);

/// Null where it cannot be loaded; then `why` says so: which library is missing, or that none was built.
const CudaLibrary* cuda_library(std::string* why = nullptr);
CudaReport cuda_report();
/// kBadConfig saying what is missing where there is no usable GPU.
Backend& cuda_backend(int device = 0);
/// What cuda_backend() gives from now on plans as for a GPU of this architecture, 80 for sm_80, and compiles
/// for it: the driver translates that for the GPU there is. So the kernels of older GPUs run on newer ones.
/// 0: no cap, as at first. kBadConfig below 80; one above the GPU's is an error of cuda_backend().
void set_cuda_architecture_cap(int architecture);
/// Plans for a GPU without one: it knows kernels and when they run, and has no memory.
Backend& cuda_planner();

/// Batches on their way: one that is copied up while the one before it waits for its step.
constexpr int64_t kCudaFeedDepth = 2;

/// Of a GPU and of its planner.
constexpr Placement kCudaPlacement = Placement::kFewest;

}  // namespace wholestep
