// A backend that plans and counts but has no device: memory without bytes behind it, programs that run
// nothing.
#include "wholestep/backend/backend.h"

namespace wholestep {
namespace {

BackendCounters totals;

class NullMemory final : public Memory {
 public:
  explicit NullMemory(int64_t bytes) {
    bytes_ = bytes;
    ++totals.allocations;
    totals.bytes_in_use += bytes;
  }
  ~NullMemory() override { totals.bytes_in_use -= bytes_; }
};

class NullExecutable final : public Executable {
 public:
  explicit NullExecutable(size_t calls) : calls_(calls) {}
  void run(int64_t steps) override { totals.submissions += steps; }
  void run_call(size_t) override {}
  int64_t barriers() const override { return static_cast<int64_t>(calls_); }

 private:
  size_t calls_;
};

class NullBackend final : public Backend {
 public:
  std::string_view name() const override { return "null"; }
  bool host_memory() const override { return true; }  // it touches no bytes: tensors may lie where they are
  std::shared_ptr<Memory> allocate(int64_t bytes) override { return std::make_shared<NullMemory>(bytes); }
  void copy_in(std::byte*, const std::byte*, int64_t bytes) override { totals.copied_in_bytes += bytes; }
  void copy_out(std::byte*, const std::byte*, int64_t bytes) override { totals.copied_out_bytes += bytes; }
  void copy(std::byte*, const std::byte*, int64_t) override {}
  void run(const PreparedKernel&, std::span<const void* const>, std::span<void* const>, std::byte*) override {
  }
  std::vector<Span> spans(std::span<const ScheduledKernel> schedule) const override {
    std::vector<Span> spans;
    for (int i = 0; i < static_cast<int>(schedule.size()); ++i) spans.push_back({i, i});
    return spans;
  }
  std::unique_ptr<Executable> load(const Program& program, std::span<std::byte* const>) override {
    return std::make_unique<NullExecutable>(program.calls.size());
  }
  BackendCounters counters() const override { return totals; }
};

}  // namespace

Backend& null_backend() {
  static NullBackend backend;
  return backend;
}

}  // namespace wholestep
