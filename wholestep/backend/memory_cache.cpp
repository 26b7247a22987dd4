// A block in use is an object of its own that comes back to the cache when it is destroyed.
#include "wholestep/backend/memory_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "wholestep/base/error.h"
#include "wholestep/base/human.h"
#include "wholestep/base/integers.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)0)
#endif

namespace wholestep {
namespace {

/// Memory nobody holds is not to be touched, as the address sanitizer sees it.
void poison([[maybe_unused]] const Backend& backend, [[maybe_unused]] const Memory& memory) {
  if (backend.host_memory()) ASAN_POISON_MEMORY_REGION(memory.data(), static_cast<size_t>(memory.bytes()));
}
void unpoison([[maybe_unused]] const Backend& backend, [[maybe_unused]] const Memory& memory) {
  if (backend.host_memory()) ASAN_UNPOISON_MEMORY_REGION(memory.data(), static_cast<size_t>(memory.bytes()));
}

}  // namespace

class MemoryCache::Block final : public Memory {
 public:
  Block(MemoryCache& cache, std::shared_ptr<Memory> block_memory, int64_t bytes)
      : memory(std::move(block_memory)), cache_(cache) {
    data_ = memory->data();
    bytes_ = bytes;
  }
  ~Block() override { cache_.release(*this); }
  const std::shared_ptr<Memory> memory;

 private:
  MemoryCache& cache_;
};

int64_t MemoryCache::size_class(int64_t bytes) {
  constexpr int64_t kSmallest = kAlignment;
  if (bytes <= 8 * kSmallest) return std::max(aligned(bytes), kSmallest);
  int64_t step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(bytes - 1))) / 8;
  return rounded_up(bytes, step);
}

MemoryCache::~MemoryCache() { empty_cache(); }

void MemoryCache::give_back() {
  for (const auto& [size, blocks] : kept_)
    for (const auto& memory : blocks) unpoison(backend_, *memory);
  kept_.clear();
  statistics_.cached_bytes = 0;
}

std::shared_ptr<Memory> MemoryCache::take(int64_t size) {
  if (auto found = kept_.find(size); found != kept_.end() && !found->second.empty()) {
    std::shared_ptr<Memory> memory = std::move(found->second.back());
    found->second.pop_back();
    unpoison(backend_, *memory);
    statistics_.cached_bytes -= size;
    ++statistics_.hits;
    return memory;
  }
  if (size > limit_bytes_ - statistics_.in_use_bytes - statistics_.cached_bytes) give_back();
  if (size > limit_bytes_ - statistics_.in_use_bytes)
    throw Error(ErrorCode::kPlanRefused,
                {.what = "eager execution is out of memory",
                 .got = fmt::format("{} asked for, {} in use", human_bytes(size),
                                    human_bytes(statistics_.in_use_bytes)),
                 .expected = fmt::format("at most {} in all", human_bytes(limit_bytes_)),
                 .hint = "let go of tensors, or raise the limit of eager_memory()"});
  try {
    return backend_.allocate(size);
  } catch (const Error&) {
    if (statistics_.cached_bytes == 0) throw;
    give_back();
    return backend_.allocate(size);
  }
}

std::shared_ptr<Memory> MemoryCache::allocate(int64_t bytes, std::string_view purpose) {
  const int64_t size = size_class(bytes);
  std::lock_guard lock(mutex_);
  ++statistics_.requests;
  auto block = std::make_shared<Block>(*this, take(size), bytes);
  in_use_.emplace(block.get(), purpose);
  ++statistics_.blocks;
  statistics_.in_use_bytes += size;
  statistics_.requested_bytes += bytes;
  statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.in_use_bytes);
  return block;
}

void MemoryCache::release(const Block& block) {
  std::lock_guard lock(mutex_);
  const int64_t size = block.memory->bytes();
  in_use_.erase(&block);
  --statistics_.blocks;
  statistics_.in_use_bytes -= size;
  statistics_.requested_bytes -= block.bytes();
  poison(backend_, *block.memory);
  kept_[size].push_back(block.memory);
  statistics_.cached_bytes += size;
}

void MemoryCache::set_limit(int64_t bytes) {
  std::lock_guard lock(mutex_);
  limit_bytes_ = bytes;
}

void MemoryCache::empty_cache() {
  std::lock_guard lock(mutex_);
  give_back();
}

MemoryStatistics MemoryCache::statistics() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

std::string MemoryCache::report() const {
  struct Line {
    std::string purpose;
    int64_t blocks = 0, bytes = 0;
  };
  std::map<std::string, Line> by_purpose;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [block, purpose] : in_use_) {
      Line& line = by_purpose[purpose];
      line.purpose = purpose;
      ++line.blocks;
      line.bytes += block->memory->bytes();
    }
  }
  std::vector<Line> lines;
  for (auto& [purpose, line] : by_purpose) lines.push_back(line);
  std::ranges::stable_sort(lines, std::greater(), &Line::bytes);
  std::string text;
  for (const Line& line : lines)
    text += fmt::format("{}: {} block{}, {}\n", line.purpose.empty() ? "tensors" : line.purpose, line.blocks,
                        line.blocks == 1 ? "" : "s", human_bytes(line.bytes));
  return text;
}

MemoryCache& eager_memory(Backend& device) {
  // Tensors may outlive every static object.
  static auto& mutex = *new std::mutex;
  static auto& caches = *new std::map<Backend*, MemoryCache>;
  std::lock_guard lock(mutex);
  return caches.try_emplace(&device, device).first->second;
}

}  // namespace wholestep
