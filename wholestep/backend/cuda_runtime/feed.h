// Batches on their way to the GPU: pinned memory on the host, buffers on the device, a stream for the copies.
#pragma once
#include <memory>

#include "wholestep/backend/backend.h"
#include "wholestep/backend/cuda_runtime/queue.h"

namespace wholestep {

/// For batches of at most `bytes`. Device memory is taken from `backend`.
std::unique_ptr<Feed> make_cuda_feed(Backend& backend, CudaQueue& queue, int64_t bytes);

}  // namespace wholestep
