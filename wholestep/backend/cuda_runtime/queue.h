// The one stream a device runs everything on, in order; what was queued since somebody waited; and how much
// there was of everything.
#pragma once
#include <cuda_runtime_api.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "wholestep/base/timeline.h"

namespace wholestep {

/// A place in a stream. One that could not be made is refused wherever it is used.
class CudaEvent {
 public:
  explicit CudaEvent(unsigned flags = cudaEventDisableTiming) { cudaEventCreateWithFlags(&event_, flags); }
  ~CudaEvent() { cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaStream {
 public:
  CudaStream();  ///< of the current device
  ~CudaStream() { cudaStreamDestroy(stream_); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class CudaQueue {
 public:
  CudaQueue() = default;
  CudaQueue(const CudaQueue&) = delete;
  CudaQueue& operator=(const CudaQueue&) = delete;

  cudaStream_t stream() const { return stream_.get(); }
  /// A submission is about to be queued that runs `what`.
  void began(const std::shared_ptr<const std::string>& what);
  /// Queues a graph that runs `step`. Never throws: whoever waits next reports a refusal, and faults.
  void submit(cudaGraphExec_t graph, const std::shared_ptr<const std::string>& step);
  /// Waits for everything; kFailure naming the submissions that may have gone wrong.
  void wait(const char* doing);
  /// The same for what another stream queued.
  void wait(cudaEvent_t event, const char* doing);
  /// The same where the error is there already.
  void check(cudaError_t code, const char* doing);

  /// Adds to `timeline`, until given null, what timed() queues and what the host waits for.
  void record(Timeline* timeline);
  Timeline* timeline() const { return timeline_; }
  /// Calls work(), which queues on `stream`, for submission `number`.
  template <class Work>
  void timed(cudaStream_t stream, const char* row, const char* what, int64_t number, Work&& work) {
    if (!timeline_ || timeline_->room() <= timed_.size()) return work();
    auto begin = std::make_unique<CudaEvent>(cudaEventDefault),
         end = std::make_unique<CudaEvent>(cudaEventDefault);
    cudaEventRecord(begin->get(), stream);
    work();
    cudaEventRecord(end->get(), stream);
    timed_.push_back({row, what, number, std::move(begin), std::move(end)});
  }

  struct Counters {
    std::atomic<int64_t> allocations{0}, bytes_in_use{0}, submissions{0}, copied_in{0}, copied_out{0};
  } counters;

 private:
  struct Timed {
    const char *row, *what;
    int64_t number;
    std::unique_ptr<CudaEvent> begin, end;
  };
  void collect_times();

  CudaStream stream_;
  std::mutex mutex_;                         // over the next four
  int64_t first_ = 0, last_ = 0;             // submissions nobody waited for, from 1; 0 where there are none
  std::shared_ptr<const std::string> step_;  // what the last of them runs
  cudaError_t refused_ = cudaSuccess;        // the first launch that was not taken
  Timeline* timeline_ = nullptr;
  std::unique_ptr<CudaEvent> origin_;  // a moment that the host saw at origin_us_
  double origin_us_ = 0;
  std::vector<Timed> timed_;
};

}  // namespace wholestep
