// Memory for eager execution. Blocks that are released are kept by size class and handed out again, so that a
// loop of eager ops soon asks the system for nothing.
#pragma once
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "wholestep/backend/backend.h"

namespace wholestep {

/// Since the cache began; bytes are those of whole size classes but for `requested_bytes`.
struct MemoryStatistics {
  int64_t in_use_bytes = 0;        ///< of blocks somebody holds
  int64_t requested_bytes = 0;     ///< what was asked for of them, without the rest of their classes
  int64_t cached_bytes = 0;        ///< of blocks that are kept to be handed out again
  int64_t peak_bytes = 0;          ///< the most that was in use at once
  int64_t blocks = 0;              ///< in use
  int64_t requests = 0, hits = 0;  ///< hits: answered by a kept block
  /// The share of the bytes in use that nobody asked for: 1 - requested / in use, in [0, 1]; 0 where none
  /// are.
  double fragmentation() const {
    return in_use_bytes == 0 ? 0
                             : 1 - static_cast<double>(requested_bytes) / static_cast<double>(in_use_bytes);
  }
};

/// May be used from any number of threads.
class MemoryCache {
 public:
  explicit MemoryCache(Backend& backend) : backend_(backend) {}
  ~MemoryCache();  ///< every block has been released

  /// At least so many bytes at a multiple of kAlignment, not cleared; released with the object. `purpose`,
  /// such as an op's name, is what report() calls it. kPlanRefused where the limit or the machine has not
  /// that much, even after every kept block was given back; what is in use is untouched by that.
  std::shared_ptr<Memory> allocate(int64_t bytes, std::string_view purpose = "");

  /// The most that may be in use and kept at once; no limit at first.
  void set_limit(int64_t bytes);
  /// Gives every kept block back to the backend.
  void empty_cache();
  MemoryStatistics statistics() const;
  /// The blocks in use by purpose, largest first, a line each: what is found when nothing should be left has
  /// leaked.
  std::string report() const;

  /// The size of the block that holds so many bytes: multiples of 64 up to 512, then eight sizes between
  /// powers of two, so that at most an eighth is left over.
  static int64_t size_class(int64_t bytes);

 private:
  class Block;
  // The first two are called with the mutex held.
  std::shared_ptr<Memory> take(int64_t size);
  void give_back();
  void release(const Block& block);

  Backend& backend_;
  mutable std::mutex mutex_;
  std::map<int64_t, std::vector<std::shared_ptr<Memory>>> kept_;  // by size class
  std::unordered_map<const Block*, std::string> in_use_;          // and what for
  MemoryStatistics statistics_;
  int64_t limit_bytes_ = std::numeric_limits<int64_t>::max();
};

/// Where tensors on a device and the results of eager ops there lie.
MemoryCache& eager_memory(Backend& device = cpu_backend());

}  // namespace wholestep
