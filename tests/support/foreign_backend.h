// A device whose memory the host cannot touch, without such a device: it runs the CPU's kernels over memory
// whose addresses, as it hands them out, belong to pages that may not be read or written.
#pragma once
#include <map>

#include "wholestep/backend/backend.h"

namespace wholestep::test {

class ForeignBackend final : public Backend {
 public:
  std::string_view name() const override { return "cpu"; }  // chooses the CPU's kernels
  std::shared_ptr<Memory> allocate(int64_t bytes) override;
  void copy_in(std::byte* device, const std::byte* host, int64_t bytes) override;
  void copy_out(std::byte* host, const std::byte* device, int64_t bytes) override;
  void copy(std::byte* to, const std::byte* from, int64_t bytes) override;
  void run(const PreparedKernel& kernel, std::span<const void* const> inputs, std::span<void* const> outputs,
           std::byte* workspace) override;
  std::unique_ptr<Executable> load(const Program& program, std::span<std::byte* const> arenas) override;
  int64_t steps_per_submission() const override { return kStepsPerSubmission; }
  int64_t feed_depth() const override { return 2; }
  std::unique_ptr<Feed> make_feed(int64_t bytes) override;
  BackendCounters counters() const override { return counters_; }

  static constexpr int64_t kStepsPerSubmission = 4;
  std::vector<std::string>* calls = nullptr;  ///< given "feed", "run", "copy in" and "copy out" as they come

 private:
  class Block;
  class Loaded;
  class LateFeed;
  std::byte* real(const void* address) const;
  void note(const char* call) {
    if (calls) calls->push_back(call);
  }
  void place_batch();

  std::map<const std::byte*, Block*> blocks_;  // by the address handed out
  BackendCounters counters_;
  std::vector<std::pair<std::byte*, std::vector<std::byte>>> fed_;  // places and bytes, not there yet
};

/// One for all tests of a process: it outlives every tensor on it.
ForeignBackend& foreign_backend();

}  // namespace wholestep::test
