#include "support/allocation_count.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<uint64_t> count = 0;

void* counted(std::size_t size, std::size_t alignment) {
  ++count;
  size = size == 0 ? alignment : (size + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, size);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

namespace wholestep::test {
uint64_t allocation_count() { return count; }
}  // namespace wholestep::test

// Every form, as a sanitizer brings its own for those that are missing here. noexcept ones end the program
// where memory does.
using Alignment = std::align_val_t;
constexpr std::size_t kDefault = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
void* operator new(std::size_t size) { return counted(size, kDefault); }
void* operator new[](std::size_t size) { return counted(size, kDefault); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return counted(size, kDefault); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return counted(size, kDefault); }
void* operator new(std::size_t size, Alignment alignment) { return counted(size, std::size_t(alignment)); }
void* operator new[](std::size_t size, Alignment alignment) { return counted(size, std::size_t(alignment)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, Alignment) noexcept { std::free(memory); }
void operator delete[](void* memory, Alignment) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, Alignment) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, Alignment) noexcept { std::free(memory); }
