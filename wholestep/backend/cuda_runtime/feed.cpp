// Batch k goes from the host's bytes into pinned memory, from there on the copy stream into buffer k modulo
// kCudaFeedDepth, and on the step's stream from the buffer into its place, just before its step. So the copy
// over the bus runs beside the step before, and the copy within the device is all that a step waits for.
#include "wholestep/backend/cuda_runtime/feed.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "wholestep/backend/cuda/library.h"
#include "wholestep/backend/cuda_runtime/check.h"

namespace wholestep {
namespace {

class PinnedMemory {
 public:
  explicit PinnedMemory(int64_t bytes) {
    check_cuda(cudaMallocHost(&data_, static_cast<size_t>(bytes)), "pinning memory of the host for batches");
  }
  ~PinnedMemory() { cudaFreeHost(data_); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  void* data_ = nullptr;
};

class CudaFeed final : public Feed {
 public:
  CudaFeed(Backend& backend, CudaQueue& queue, int64_t bytes)
      : queue_(queue),
        bytes_(bytes),
        pinned_(kCudaFeedDepth * bytes),
        device_(backend.allocate(kCudaFeedDepth * bytes)) {}
  ~CudaFeed() override {
    cudaStreamSynchronize(copies_.get());
    cudaStreamSynchronize(queue_.stream());
  }

  void write(std::span<const BatchPiece> batch) override {
    const int64_t number = queue_.counters.submissions + 1;
    Timeline::OnHost span(queue_.timeline(), "upload", number);
    auto index = static_cast<size_t>(next_++ % kCudaFeedDepth);
    std::byte *pinned = pinned_.data() + index * static_cast<size_t>(bytes_),
              *buffer = device_->data() + index * static_cast<size_t>(bytes_);
    Buffer& of = buffers_[index];
    queue_.wait(of.arrived.get(), "copying a batch to the GPU");  // then its pinned memory is free

    std::byte* place = batch.front().device;
    for (const BatchPiece& piece : batch) place = std::min(place, piece.device);
    size_t extent = 0;
    auto check = [&](cudaError_t code) { queue_.check(code, "copying a batch to the GPU"); };
    check(cudaStreamWaitEvent(copies_.get(), of.placed.get()));  // then its buffer is free
    queue_.timed(copies_.get(), "copy", "copy", number, [&] {
      for (const BatchPiece& piece : batch) {
        auto offset = static_cast<size_t>(piece.device - place);
        extent = std::max(extent, offset + piece.host.size());
        WHOLESTEP_CHECK(extent <= static_cast<size_t>(bytes_));
        std::memcpy(pinned + offset, piece.host.data(), piece.host.size());
        check(cudaMemcpyAsync(buffer + offset, pinned + offset, piece.host.size(), cudaMemcpyHostToDevice,
                              copies_.get()));
        queue_.counters.copied_in += static_cast<int64_t>(piece.host.size());
      }
    });
    check(cudaEventRecord(of.arrived.get(), copies_.get()));
    check(cudaStreamWaitEvent(queue_.stream(), of.arrived.get()));
    queue_.timed(queue_.stream(), "step", "place", number, [&] {
      check(cudaMemcpyAsync(place, buffer, extent, cudaMemcpyDeviceToDevice, queue_.stream()));
    });
    check(cudaEventRecord(of.placed.get(), queue_.stream()));
  }

 private:
  struct Buffer {
    CudaEvent arrived, placed;  // on the device; where the step reads it
  };
  CudaQueue& queue_;
  int64_t bytes_;
  PinnedMemory pinned_;
  std::shared_ptr<Memory> device_;
  CudaStream copies_;
  std::array<Buffer, static_cast<size_t>(kCudaFeedDepth)> buffers_;
  int64_t next_ = 0;
};

}  // namespace

std::unique_ptr<Feed> make_cuda_feed(Backend& backend, CudaQueue& queue, int64_t bytes) {
  return std::make_unique<CudaFeed>(backend, queue, bytes);
}

}  // namespace wholestep
