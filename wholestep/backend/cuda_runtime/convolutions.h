// Convolutions by cuDNN.
#pragma once
#include <memory>
#include <string>

#include "wholestep/backend/cuda/library_call.h"
#include "wholestep/backend/cuda_runtime/library_algorithm.h"

namespace wholestep {

/// "9.19.0"; "" where it cannot be loaded, or is not built for, and then `why` says so.
std::string cudnn_version(std::string& why);

/// Of the current device. cuDNN is loaded when the first convolution asks for it, or for its version.
class ConvolutionLibrary {
 public:
  /// Those whose bits are always the same and that sum the products of a convolution: a transform, Winograd's
  /// or Fourier's, would spread a NaN.
  Proposals propose(const CudaConvolution& convolution);
  std::string version() const;

 private:
  struct Handle;
  class Run;
  std::shared_ptr<Handle> handle_;
};

}  // namespace wholestep
