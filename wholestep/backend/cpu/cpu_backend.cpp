// The CPU backend: aligned memory, and executables that walk the regions of a schedule with the thread pool.
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/backend/cpu/flush_subnormals.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/backend/cpu/thread_trial.h"
#include "wholestep/backend/regions.h"
#include "wholestep/base/error.h"
#include "wholestep/base/timeline.h"

namespace wholestep {
namespace {

Timeline* timeline = nullptr;
std::atomic<int64_t> allocations{0}, bytes_in_use{0}, submissions{0}, copied_in{0}, copied_out{0};

/// Large memory comes in huge pages, where the system has them: a step goes through all of it, and has fewer
/// of them to look up. What does not fill the last one stays in small pages.
std::byte* allocate(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t huge = bytes / kHugePage * kHugePage;
  void* data = nullptr;
  if (::posix_memalign(&data, huge > 0 ? kHugePage : kAlignment, bytes) != 0) return nullptr;
#ifdef __linux__
  if (huge > 0) ::madvise(data, huge, MADV_HUGEPAGE);  // a wish: refused, small pages do
#endif
  return static_cast<std::byte*>(data);
}

class HostMemory final : public Memory {
 public:
  explicit HostMemory(int64_t bytes) {
    bytes_ = bytes;
    size_t rounded = static_cast<size_t>(aligned(std::max<int64_t>(bytes, 1)));
    data_ = allocate(rounded);
    if (!data_)
      throw Error(ErrorCode::kPlanRefused, {.what = "the machine has not enough memory",
                                            .got = std::to_string(bytes) + " bytes asked for"});
    std::memset(data_, 0, rounded);
    ++allocations;
    bytes_in_use += bytes_;
  }
  ~HostMemory() override {
    bytes_in_use -= bytes_;
    std::free(data_);
  }
};

/// A large batch is copied by the threads that work on its parts, into their caches.
void copy_in_parts(std::byte* to, const std::byte* from, int64_t bytes) {
  constexpr int64_t kWorthSharing = 1 << 17;
  if (bytes < kWorthSharing) {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return;
  }
  const Split parts(bytes);
  default_pool().run(parts.chunks(), [&](int64_t chunk) {
    std::memcpy(to + parts[chunk].begin, from + parts[chunk].begin, static_cast<size_t>(parts[chunk].size()));
  });
}

void run_phases(const CpuCall& call, const CpuArgs& args) {
  FlushSubnormals mode;
  ThreadPool& pool = default_pool();
  for (const CpuPhase& phase : call.phases) {
    auto item = [&](int64_t chunk) { phase.run(args, chunk); };
    if (phase.chunks == 1) {
      item(0);
    } else {
      pool.limit(pool.threads());  // a step may have left some asleep
      pool.run(phase.chunks, item);
    }
  }
}

class CpuExecutable final : public Executable {
 public:
  CpuExecutable(const Program& program, std::span<std::byte* const> arenas) {
    std::vector<ScheduledKernel> schedule;
    for (const Call& call : program.calls) schedule.push_back(call.kernel);
    regions_ = build_regions(schedule).regions;
    // Neighbouring chunks of all sets next to each other: a thread finds what it made in the region before.
    size_t most = 1;
    for (const Region& region : regions_) {
      std::vector<Lane>& lanes = lanes_.emplace_back();
      for (const LaneSet& set : region.lane_sets)
        for (int64_t chunk = 0; chunk < set.chunks; ++chunk) lanes.push_back({&set, chunk});
      std::ranges::stable_sort(lanes, {}, [](const Lane& lane) {
        return static_cast<double>(2 * lane.chunk + 1) / static_cast<double>(lane.set->chunks);
      });
      most = std::max(most, lanes.size());
    }
    trial_ =
        ThreadTrial(std::min(static_cast<int64_t>(most), int64_t{default_pool().threads()}), allowed_cpus());
    auto address = [&](BufferRef ref) { return arenas[static_cast<size_t>(ref.arena)] + ref.offset; };
    for (const Call& call : program.calls) {
      auto bound = std::make_unique<Bound>();
      bound->label = call.kernel.label;
      bound->kernel = std::static_pointer_cast<const CpuCall>(call.kernel.kernel);
      for (BufferRef ref : call.inputs) bound->inputs.push_back(address(ref));
      for (BufferRef ref : call.outputs) bound->outputs.push_back(address(ref));
      bound->args = {bound->inputs.data(), bound->outputs.data(), address(call.workspace)};
      calls_.push_back(std::move(bound));
    }
  }

  void run(int64_t steps) override {
    FlushSubnormals mode;
    for (int64_t i = 0; i < steps; ++i) {
      Timeline::OnHost span(timeline, "step", ++submissions);
      const auto start = std::chrono::steady_clock::now();
      default_pool().limit(trial_.threads());
      for (const std::vector<Lane>& lanes : lanes_) run_region(lanes);
      trial_.took(std::chrono::steady_clock::now() - start);
    }
  }

  std::vector<PhaseTime> profile() override {
    using Clock = std::chrono::steady_clock;
    constexpr int kRounds = 15;
    FlushSubnormals mode;
    default_pool().limit(trial_.threads());
    std::vector<std::vector<double>> rounds(regions_.size());  // of every region, us
    for (int round = 0; round < kRounds; ++round)
      for (size_t r = 0; r < regions_.size(); ++r) {
        auto start = Clock::now();
        run_region(lanes_[r]);
        rounds[r].push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
      }
    std::vector<PhaseTime> times;
    for (size_t r = 0; r < regions_.size(); ++r) {
      std::ranges::nth_element(rounds[r], rounds[r].begin() + kRounds / 2);
      times.push_back({.region = static_cast<int>(r),
                       .blocks = regions_[r].lanes,
                       .microseconds = rounds[r][kRounds / 2]});
      run_region(lanes_[r]);  // again, so that its operands are not what later regions left in their place
      for (const LaneSet& set : regions_[r].lane_sets)
        for (const LaneSet::Step& step : set.steps) {
          if (set.chunks == 0) continue;
          const Bound& call = *calls_[static_cast<size_t>(step.call)];
          auto start = Clock::now();
          call.kernel->phases[static_cast<size_t>(step.phase)].run(call.args, 0);
          double taken = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
          times.push_back({.region = static_cast<int>(r),
                           .label = call.label,
                           .blocks = set.chunks,
                           .microseconds = taken});
        }
    }
    return times;
  }

  void run_call(size_t index) override { run_phases(*calls_[index]->kernel, calls_[index]->args); }
  int64_t barriers() const override { return static_cast<int64_t>(regions_.size()); }

 private:
  struct Bound {
    std::string label;
    std::shared_ptr<const CpuCall> kernel;
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    CpuArgs args;
  };

  struct Lane {
    const LaneSet* set;
    int64_t chunk;
  };

  void run_region(const std::vector<Lane>& lanes) const {
    auto item = [&](int64_t i) { run_lane(lanes[static_cast<size_t>(i)]); };
    if (lanes.size() == 1) return item(0);
    default_pool().run(static_cast<int64_t>(lanes.size()), item);
  }

  void run_lane(const Lane& lane) const {
    for (const LaneSet::Step& step : lane.set->steps) {
      const Bound& call = *calls_[static_cast<size_t>(step.call)];
      call.kernel->phases[static_cast<size_t>(step.phase)].run(call.args, lane.chunk);
    }
  }

  std::vector<std::unique_ptr<Bound>> calls_;
  std::vector<Region> regions_;
  std::vector<std::vector<Lane>> lanes_;  // of every region, in the order they are handed out
  ThreadTrial trial_{1, 1};
};

class CpuBackend final : public Backend {
 public:
  std::string_view name() const override { return "cpu"; }
  bool host_memory() const override { return true; }
  std::shared_ptr<Memory> allocate(int64_t bytes) override { return std::make_shared<HostMemory>(bytes); }
  // Host and device are one; the caller's copy is the only one.
  void copy_in(std::byte* device, const std::byte* host, int64_t bytes) override {
    copy_in_parts(device, host, bytes);
    copied_in += bytes;
  }
  void copy_out(std::byte* host, const std::byte* device, int64_t bytes) override {
    std::memcpy(host, device, static_cast<size_t>(bytes));
    copied_out += bytes;
  }
  void copy(std::byte* to, const std::byte* from, int64_t bytes) override {
    std::memmove(to, from, static_cast<size_t>(bytes));
  }
  void run(const PreparedKernel& kernel, std::span<const void* const> inputs, std::span<void* const> outputs,
           std::byte* workspace) override {
    run_phases(dynamic_cast<const CpuCall&>(kernel), {inputs.data(), outputs.data(), workspace});
  }
  std::unique_ptr<Executable> load(const Program& program, std::span<std::byte* const> arenas) override {
    return std::make_unique<CpuExecutable>(program, arenas);
  }
  void record(Timeline* to) override { timeline = to; }
  BackendCounters counters() const override {
    return {.allocations = allocations,
            .bytes_in_use = bytes_in_use,
            .submissions = submissions,
            .copied_in_bytes = copied_in,
            .copied_out_bytes = copied_out};
  }
};

}  // namespace

Backend& cpu_backend() {
  static CpuBackend backend;
  return backend;
}

}  // namespace wholestep
