// Submitting, waiting, and what went wrong in between.
#include "wholestep/backend/cuda_runtime/queue.h"

#include <fmt/format.h>

#include "wholestep/backend/cuda_runtime/check.h"

namespace wholestep {

CudaStream::CudaStream() {
  check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}

void CudaQueue::began(const std::shared_ptr<const std::string>& what) {
  std::lock_guard lock(mutex_);
  last_ = ++counters.submissions;
  if (first_ == 0) first_ = last_;
  if (step_ != what) step_ = what;
}

void CudaQueue::submit(cudaGraphExec_t graph, const std::shared_ptr<const std::string>& step) {
  began(step);
  Timeline::OnHost span(timeline_, "launch", last_);
  timed(stream(), "step", "step", last_, [&] {
    cudaError_t code = cudaGraphLaunch(graph, stream());
    std::lock_guard lock(mutex_);
    if (code != cudaSuccess && refused_ == cudaSuccess) refused_ = code;
  });
}

void CudaQueue::wait(const char* doing) {
  Timeline::OnHost span(timeline_, "wait", last_);
  check(cudaStreamSynchronize(stream()), doing);
  check(refused_, doing);
  {
    std::lock_guard lock(mutex_);
    first_ = last_ = 0;
  }
  collect_times();
}

void CudaQueue::wait(cudaEvent_t event, const char* doing) {
  if (cudaEventQuery(event) == cudaSuccess) return;
  Timeline::OnHost span(timeline_, "wait", last_);
  check(cudaEventSynchronize(event), doing);
}

void CudaQueue::check(cudaError_t code, const char* doing) {
  if (code == cudaSuccess) return;
  std::lock_guard lock(mutex_);
  if (last_ == 0) check_cuda(code, doing);
  std::string which = first_ == last_ ? fmt::format("submission {}", last_)
                                      : fmt::format("submissions {} to {}", first_, last_);
  check_cuda(code, fmt::format("running {}, noticed {}", *step_, doing), which,
             "this process has lost the GPU; checkpoints written before are whole, and a run with "
             "--call-by-call names the kernel");
}

void CudaQueue::record(Timeline* timeline) {
  if (timeline) wait("before timing what follows");
  else collect_times();
  timeline_ = timeline;
  if (!timeline) return;
  if (!origin_) origin_ = std::make_unique<CudaEvent>(cudaEventDefault);
  check_cuda(cudaEventRecord(origin_->get(), stream()), "timing");
  check_cuda(cudaEventSynchronize(origin_->get()), "timing");
  origin_us_ = timeline->now();
}

void CudaQueue::collect_times() {
  for (const Timed& t : timed_) {
    float begin = 0, end = 0;  // milliseconds
    if (cudaEventElapsedTime(&begin, origin_->get(), t.begin->get()) != cudaSuccess ||
        cudaEventElapsedTime(&end, origin_->get(), t.end->get()) != cudaSuccess)
      continue;
    if (timeline_)
      timeline_->add({t.row, t.what, t.number, origin_us_ + 1000.0 * static_cast<double>(begin),
                      origin_us_ + 1000.0 * static_cast<double>(end)});
  }
  timed_.clear();
}

}  // namespace wholestep
