#include "wholestep/backend/cpu/peaks.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "wholestep/backend/cpu/peaks_loop.h"
#include "wholestep/backend/cpu/thread_pool.h"

namespace wholestep {
namespace {

/// The shortest of several times in which the pool runs item(i) once for every thread.
template <class Item>
double least_seconds(int64_t threads, Item item) {
  using Clock = std::chrono::steady_clock;
  double least = 1e9;
  for (int i = 0; i < 5; ++i) {
    auto start = Clock::now();
    default_pool().run(threads, item);
    least = std::min(least, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return least;
}

}  // namespace

CpuPeaks measure_cpu_peaks() {
  const int64_t threads = default_pool().threads(), rounds = 2'000'000;
  default_pool().limit(threads);
  const PeakLoop& loop = WHOLESTEP_OF_ACTIVE_ISA(kPeakLoop);
  std::vector<float> results(static_cast<size_t>(threads));
  double arithmetic =
      least_seconds(threads, [&](int64_t i) { results[static_cast<size_t>(i)] = loop.run(rounds); });

  const size_t part = (size_t{128} << 20) / static_cast<size_t>(threads),
               total = part * static_cast<size_t>(threads);
  std::vector<char> from(total, 1), to(total, 0);
  double copy = least_seconds(threads, [&](int64_t i) {
    const size_t at = static_cast<size_t>(i) * part;
    std::memcpy(to.data() + at, from.data() + at, part);
  });
  return {static_cast<double>(threads * rounds * loop.flops_per_round) / arithmetic,
          2 * static_cast<double>(total) / copy};
}

}  // namespace wholestep
