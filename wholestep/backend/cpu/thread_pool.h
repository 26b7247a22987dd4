// Threads that work through numbered items. Which thread takes which item is left to chance, though a thread
// prefers the same part of the numbers every time, so callers let the numbers depend on sizes and constants
// only, and every item write its own part of the result.
#pragma once
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "wholestep/base/function_ref.h"

namespace wholestep {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  ///< the caller and threads - 1 workers; kBadConfig where threads < 1
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls item(0), ..., item(items - 1), each once, and returns when all have returned. Items must not
  /// throw. Never allocates. A run inside an item, or beside a run of another thread, works through its items
  /// inline.
  void run(int64_t items, FunctionRef<void(int64_t item)> item);

  /// From now on runs use so many threads, or all where there are no more; the others sleep, so that they do
  /// not disturb those that wait for each other.
  void limit(int64_t threads);

  /// The calling thread's number in [0, threads()), for scratch memory: workers have 1 and up, everyone else
  /// 0.
  int slot() const;

 private:
  using Item = FunctionRef<void(int64_t)>;
  void work(size_t slot);
  void take_all(size_t slot);
  bool take_one(size_t share);
  void wait_for_items(size_t slot, uint32_t signal);
  void run_shared(int64_t first, uint32_t items, const Item& item);

  // The run in progress. Every thread in use has a share of the items, neighbours, and takes of others' when
  // its own is done. A ticket holds (run number << 32 | items of the share nobody has taken yet); an item is
  // taken by lowering it. While it counts any, the run cannot end, so what is read beside it belongs to that
  // run. Tickets lie side by side, so that a look at all of them is a look at few cache lines.
  struct alignas(64) Tickets {
    std::atomic<uint64_t> of[8] = {};
  };
  std::atomic<uint64_t>& ticket(size_t share) { return tickets_[share / 8].of[share % 8]; }
  /// Items are handed out in ascending order: a share's items end where the next one's begin.
  static int64_t first_of(size_t share, size_t shares, int64_t items) {
    return items * static_cast<int64_t>(share) / static_cast<int64_t>(shares);
  }
  std::vector<Tickets> tickets_;
  std::atomic<size_t> shares_{1};
  std::atomic<int64_t> first_{0}, items_{0};
  std::atomic<const Item*> item_{nullptr};
  alignas(64) std::atomic<uint32_t> unfinished_{0};  // items that have not returned
  alignas(64) std::atomic<uint32_t> signal_{0};      // changes with every run: what idle workers sleep on
  std::atomic<size_t> used_;                         // threads of lower slots take part in runs
  std::atomic<uint32_t> recalls_{0};                 // changes with used_: what the others sleep on
  std::atomic<bool> busy_{false}, stop_{false};
  std::vector<std::thread> workers_;
};

/// Processors the process may run on.
int allowed_cpus();

/// The pool the CPU backend uses; as many threads as the process may run on until set_threads() is called.
ThreadPool& default_pool();

/// Replaces the default pool; kBadConfig where threads < 1. Not to be called while it is in use.
void set_threads(int threads);

}  // namespace wholestep
