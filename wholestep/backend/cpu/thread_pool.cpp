// Taking items by compare-and-swap on one word; idle threads spin for some microseconds, then sleep on a
// futex.
#include "wholestep/backend/cpu/thread_pool.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>

#include "wholestep/backend/cpu/flush_subnormals.h"
#include "wholestep/base/error.h"
#ifdef __linux__
#include <sched.h>
#endif

namespace wholestep {
namespace {

// Half a millisecond or less: longer than threads wait for each other within a step, because waking one may
// take a virtual machine as long as a layer; short enough not to starve the loader.
constexpr int kSpins = 10000;

struct Place {
  const ThreadPool* pool = nullptr;
  int slot = 0;
};
thread_local Place place;               // which worker this thread is
thread_local bool inside_item = false;  // whether it is inside an item, of any pool

void pause_briefly() {
#if WHOLESTEP_X86
  __builtin_ia32_pause();
#else
  std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace

int allowed_cpus() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int threads)
    : tickets_((static_cast<size_t>(std::max(1, threads)) + 7) / 8),
      used_(static_cast<size_t>(std::max(1, threads))) {
  if (threads < 1)
    throw Error(ErrorCode::kBadConfig,
                {.what = "number of threads", .got = std::to_string(threads), .expected = "at least 1"});
  for (int slot = 1; slot < threads; ++slot)
    workers_.emplace_back([this, slot] { work(static_cast<size_t>(slot)); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  signal_.fetch_add(1, std::memory_order_release);
  signal_.notify_all();
  recalls_.fetch_add(1, std::memory_order_release);
  recalls_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::limit(int64_t most) {
  const auto used = static_cast<size_t>(std::clamp<int64_t>(most, 1, threads()));
  if (used_.exchange(used, std::memory_order_release) == used) return;
  recalls_.fetch_add(1, std::memory_order_release);
  recalls_.notify_all();
}

int ThreadPool::slot() const { return place.pool == this ? place.slot : 0; }

void ThreadPool::run(int64_t items, FunctionRef<void(int64_t)> item) {
  bool shared =
      items > 1 && !workers_.empty() && !inside_item && !busy_.exchange(true, std::memory_order_acquire);
  if (!shared) {
    for (int64_t i = 0; i < items; ++i) item(i);
    return;
  }
  constexpr int64_t kMost = int64_t{1} << 31;
  for (int64_t first = 0; first < items; first += kMost)
    run_shared(first, static_cast<uint32_t>(std::min(kMost, items - first)), item);
  busy_.store(false, std::memory_order_release);
}

void ThreadPool::run_shared(int64_t first, uint32_t items, const Item& item) {
  item_.store(&item, std::memory_order_relaxed);
  unfinished_.store(items, std::memory_order_relaxed);
  first_.store(first, std::memory_order_relaxed);
  items_.store(items, std::memory_order_relaxed);
  const size_t shares = used_.load(std::memory_order_relaxed);
  shares_.store(shares, std::memory_order_relaxed);
  const uint64_t number = (ticket(0).load(std::memory_order_relaxed) >> 32) + 1;
  for (size_t share = 0; share < shares; ++share) {
    const int64_t count = first_of(share + 1, shares, items) - first_of(share, shares, items);
    ticket(share).store(number << 32 | static_cast<uint64_t>(count), std::memory_order_release);
  }
  signal_.fetch_add(1, std::memory_order_release);
  signal_.notify_all();
  take_all(0);
  for (int spin = 0; spin < kSpins && unfinished_.load(std::memory_order_acquire) != 0; ++spin)
    pause_briefly();
  while (uint32_t left = unfinished_.load(std::memory_order_acquire)) unfinished_.wait(left);
}

void ThreadPool::take_all(size_t slot) {
  const size_t shares = shares_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < shares; ++i)
    while (take_one((slot + i) % shares)) {
    }
}

bool ThreadPool::take_one(size_t share) {
  uint64_t seen = ticket(share).load(std::memory_order_acquire);
  for (;;) {
    const uint32_t left = static_cast<uint32_t>(seen);
    if (left == 0) return false;
    const Item* item = item_.load(std::memory_order_relaxed);
    const int64_t index =
        first_.load(std::memory_order_relaxed) +
        first_of(share + 1, shares_.load(std::memory_order_relaxed), items_.load(std::memory_order_relaxed)) -
        left;
    if (!ticket(share).compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel,
                                             std::memory_order_acquire))
      continue;
    inside_item = true;
    (*item)(index);
    inside_item = false;
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
    return true;
  }
}

void ThreadPool::work(size_t slot) {
  FlushSubnormals mode;
  place = {this, static_cast<int>(slot)};
  for (;;) {
    uint32_t signal = signal_.load(std::memory_order_acquire);
    if (slot < used_.load(std::memory_order_relaxed)) take_all(slot);
    if (stop_.load(std::memory_order_relaxed)) return;
    wait_for_items(slot, signal);
  }
}

void ThreadPool::wait_for_items(size_t slot, uint32_t signal) {
  const uint32_t recall = recalls_.load(std::memory_order_acquire);
  if (slot >= used_.load(std::memory_order_relaxed)) {
    if (!stop_.load(std::memory_order_relaxed)) recalls_.wait(recall, std::memory_order_acquire);
    return;
  }
  for (int spin = 0; spin < kSpins; ++spin) {
    if (signal_.load(std::memory_order_acquire) != signal) return;
    pause_briefly();
  }
  signal_.wait(signal, std::memory_order_acquire);
}

namespace {

struct DefaultPool {
  std::mutex mutex;
  std::unique_ptr<ThreadPool> pool;
};
DefaultPool& default_holder() {
  static DefaultPool holder;
  return holder;
}

}  // namespace

ThreadPool& default_pool() {
  DefaultPool& holder = default_holder();
  std::lock_guard lock(holder.mutex);
  if (!holder.pool) holder.pool = std::make_unique<ThreadPool>(allowed_cpus());
  return *holder.pool;
}

void set_threads(int threads) {
  auto pool = std::make_unique<ThreadPool>(threads);
  DefaultPool& holder = default_holder();
  std::lock_guard lock(holder.mutex);
  holder.pool = std::move(pool);
}

}  // namespace wholestep
