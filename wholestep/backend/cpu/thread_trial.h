// How many threads a step uses, by trial: threads that share a core, or wait for each other more than they
// work, make a step slower, and no size tells which do. Bits do not depend on it. It reads no clock: steps
// are reported to it.
#pragma once
#include <chrono>
#include <cstdint>

namespace wholestep {

/// All threads against the next lower power of two, which chunks divide evenly; where fewer win, those
/// against the next lower one, and so on. Two numbers of threads take turns of a few steps, so that what else
/// the machine does befalls both, and each pair of turns has a winner: how often one is faster decides, since
/// steps of too many threads vary, and their fastest says little. Where threads are more than the processors,
/// fewer need half as many wins; else three times as many, since what takes a processor away for a while
/// makes all threads wait for one. What else the machine does changes, so there is a trial again after some
/// hundred times as long as one takes.
class ThreadTrial {
 public:
  using Duration = std::chrono::nanoseconds;

  ThreadTrial(int64_t most_threads, int64_t of_processors);  ///< at least 1 each

  int64_t threads() const { return rivals_turn_ ? rival_.threads : holder_.threads; }  ///< of the next step
  bool over() const { return rival_.threads == 0; }  ///< threads() stays for a while

  /// A step with threads() took so long.
  void took(Duration step);

 private:
  struct Turn {
    int steps = -1;  ///< that count: not the first, for which threads wake and caches change
    Duration length{0};
  };
  struct Side {
    int64_t threads;
    Turn turn = {};   ///< the last one
    Duration won{0};  ///< the length of all turns that were faster than the other side's
  };
  void end_bout();

  Side holder_, rival_;
  bool rivals_turn_ = false;
  bool cold_ = true;  // no step has run, memory is in no cache
  int64_t most_, processors_;
  Duration tried_{0}, rested_{0};
};

}  // namespace wholestep
