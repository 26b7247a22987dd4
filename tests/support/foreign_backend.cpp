// Translation of addresses, and the CPU behind them.
#include "support/foreign_backend.h"

#include <sys/mman.h>

#include <algorithm>

#include "wholestep/base/error.h"

namespace wholestep::test {

class ForeignBackend::Block final : public Memory {
 public:
  Block(ForeignBackend& owner, int64_t bytes)
      : owner_(owner), real_(cpu_backend().allocate(bytes)), mapped_(static_cast<size_t>(bytes) + 1) {
    bytes_ = bytes;
    void* pages = ::mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    WHOLESTEP_CHECK(pages != MAP_FAILED);
    data_ = static_cast<std::byte*>(pages);
    owner_.blocks_[data_] = this;
    ++owner_.counters_.allocations;
    owner_.counters_.bytes_in_use += bytes_;
  }
  ~Block() override {
    owner_.counters_.bytes_in_use -= bytes_;
    owner_.blocks_.erase(data_);
    ::munmap(data_, mapped_);
  }
  std::byte* real() const { return real_->data(); }

 private:
  ForeignBackend& owner_;
  std::shared_ptr<Memory> real_;
  size_t mapped_;
};

class ForeignBackend::Loaded final : public Executable {
 public:
  Loaded(std::unique_ptr<Executable> real, ForeignBackend& owner) : real_(std::move(real)), owner_(owner) {}
  void run(int64_t steps) override {
    for (int64_t now; steps > 0; steps -= now) {
      now = steps < kStepsPerSubmission ? 1 : kStepsPerSubmission;
      ++owner_.counters_.submissions;
      owner_.note("run");
      owner_.place_batch();
      real_->run(now);
    }
  }
  void run_call(size_t index) override {
    owner_.place_batch();
    real_->run_call(index);
  }
  int64_t barriers() const override { return real_->barriers(); }

 private:
  std::unique_ptr<Executable> real_;
  ForeignBackend& owner_;
};

/// As late as it may be: a batch is in its place when the submission begins, and not before.
class ForeignBackend::LateFeed final : public Feed {
 public:
  LateFeed(ForeignBackend& owner, int64_t bytes)
      : owner_(owner), memory_(owner.allocate(owner.feed_depth() * bytes)) {}
  void write(std::span<const BatchPiece> batch) override {
    owner_.note("feed");
    owner_.fed_.clear();
    for (const BatchPiece& piece : batch) {
      owner_.fed_.push_back({piece.device, {piece.host.begin(), piece.host.end()}});
      owner_.counters_.copied_in_bytes += static_cast<int64_t>(piece.host.size());
    }
  }

 private:
  ForeignBackend& owner_;
  std::shared_ptr<Memory> memory_;
};

void ForeignBackend::place_batch() {
  for (const auto& [place, bytes] : fed_) std::ranges::copy(bytes, real(place));
  fed_.clear();
}

std::unique_ptr<Feed> ForeignBackend::make_feed(int64_t bytes) {
  return std::make_unique<LateFeed>(*this, bytes);
}

std::byte* ForeignBackend::real(const void* address) const {
  auto* wanted = static_cast<const std::byte*>(address);
  auto after = blocks_.upper_bound(wanted);
  WHOLESTEP_CHECK(after != blocks_.begin());
  Block* block = std::prev(after)->second;
  WHOLESTEP_CHECK(wanted - block->data() <= block->bytes());
  return block->real() + (wanted - block->data());
}

std::shared_ptr<Memory> ForeignBackend::allocate(int64_t bytes) {
  return std::make_shared<Block>(*this, bytes);
}

void ForeignBackend::copy_in(std::byte* device, const std::byte* host, int64_t bytes) {
  note("copy in");
  cpu_backend().copy_in(real(device), host, bytes);
  counters_.copied_in_bytes += bytes;
}

void ForeignBackend::copy_out(std::byte* host, const std::byte* device, int64_t bytes) {
  note("copy out");
  cpu_backend().copy_out(host, real(device), bytes);
  counters_.copied_out_bytes += bytes;
}

void ForeignBackend::copy(std::byte* to, const std::byte* from, int64_t bytes) {
  cpu_backend().copy(real(to), real(from), bytes);
}

void ForeignBackend::run(const PreparedKernel& kernel, std::span<const void* const> inputs,
                         std::span<void* const> outputs, std::byte* workspace) {
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const void* address : inputs) in.push_back(real(address));
  for (void* address : outputs) out.push_back(real(address));
  cpu_backend().run(kernel, in, out, workspace ? real(workspace) : nullptr);
}

std::unique_ptr<Executable> ForeignBackend::load(const Program& program, std::span<std::byte* const> arenas) {
  std::vector<std::byte*> bases;
  for (std::byte* arena : arenas) bases.push_back(real(arena));
  return std::make_unique<Loaded>(cpu_backend().load(program, bases), *this);
}

ForeignBackend& foreign_backend() {
  static auto* backend = new ForeignBackend;
  return *backend;
}

}  // namespace wholestep::test
