// What ran when, on the host and on a device, in one base of time: recorded where somebody asks for it.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace wholestep {

class Timeline {
 public:
  struct Span {
    const char* row;    ///< who: "host", "copy", "step"
    const char* what;   ///< "batch", "wait", ...
    int64_t number;     ///< of the submission it belongs to, from 1; 0 where it belongs to none
    double begin, end;  ///< microseconds since the timeline was made
  };
  /// Keeps the first so many spans; memory for them is taken at once.
  explicit Timeline(size_t capacity = size_t{1} << 16) { spans_.reserve(capacity); }

  double now() const { return std::chrono::duration<double, std::micro>(Clock::now() - start_).count(); }
  size_t room() const { return spans_.capacity() - spans_.size(); }
  void add(const Span& span) {
    if (room() > 0) spans_.push_back(span);
  }
  const std::vector<Span>& spans() const { return spans_; }

  /// Adds what the host does while this object lives; nothing where there is no timeline.
  class OnHost {
   public:
    OnHost(Timeline* timeline, const char* what, int64_t number = 0)
        : timeline_(timeline), what_(what), number_(number), begin_(timeline ? timeline->now() : 0) {}
    ~OnHost() {
      if (timeline_) timeline_->add({"host", what_, number_, begin_, timeline_->now()});
    }
    OnHost(const OnHost&) = delete;
    OnHost& operator=(const OnHost&) = delete;

   private:
    Timeline* timeline_;
    const char* what_;
    int64_t number_;
    double begin_;
  };

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
  std::vector<Span> spans_;
};

/// In the JSON that Chrome's trace viewer and Perfetto open.
std::string chrome_trace(const Timeline& timeline);

}  // namespace wholestep
