// Files kept between processes: found again, the oldest dropped, never in the way.
#include "wholestep/backend/disk_cache.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "support/temp_dir.h"

namespace wholestep::test {
namespace {

/// XDG_CACHE_HOME as a test wants it, and as it was afterwards.
class CacheHome {
 public:
  explicit CacheHome(const std::filesystem::path& path) {
    if (const char* before = std::getenv("XDG_CACHE_HOME")) before_ = before;
    ::setenv("XDG_CACHE_HOME", path.c_str(), 1);
  }
  ~CacheHome() {
    if (before_.empty()) ::unsetenv("XDG_CACHE_HOME");
    else ::setenv("XDG_CACHE_HOME", before_.c_str(), 1);
  }
  CacheHome(const CacheHome&) = delete;
  CacheHome& operator=(const CacheHome&) = delete;

 private:
  std::string before_;
};

std::vector<std::byte> bytes(size_t count, int value) { return std::vector(count, std::byte(value)); }

int64_t files_in(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

TEST(DiskCache, FindsWhatAnotherOneWrote) {
  TempDir dir;
  CacheHome home(dir.path());
  DiskCache("kernels").write("a", bytes(100, 7));
  EXPECT_EQ(DiskCache("kernels").read("a"), bytes(100, 7));
  EXPECT_TRUE(DiskCache("kernels").read("b").empty());
  EXPECT_TRUE(DiskCache("other").read("a").empty());
  EXPECT_EQ(files_in(dir / "wholestep" / "kernels"), 1) << "nothing is left of the file written aside";
}

TEST(DiskCache, DropsWhatWasNotUsedForLongest) {
  TempDir dir;
  CacheHome home(dir.path());
  const DiskCache cache("kernels", 1000);
  auto later = [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); };
  cache.write("a", bytes(400, 1)), later();
  cache.write("b", bytes(400, 2)), later();
  EXPECT_EQ(cache.read("a"), bytes(400, 1)), later();  // now b is the oldest
  cache.write("c", bytes(400, 3));
  EXPECT_EQ(cache.read("a"), bytes(400, 1));
  EXPECT_TRUE(cache.read("b").empty());
  EXPECT_EQ(cache.read("c"), bytes(400, 3));
}

TEST(DiskCache, ReplacesAFileWhole) {
  TempDir dir;
  CacheHome home(dir.path());
  const DiskCache cache("kernels");
  cache.write("a", bytes(400, 1));
  cache.write("a", bytes(3, 2));
  EXPECT_EQ(cache.read("a"), bytes(3, 2));
}

TEST(DiskCache, ThatCannotBeWrittenIsNoError) {
  TempDir dir;
  write_file(dir / "wholestep", "a file where the folder would be");
  CacheHome home(dir.path());
  const DiskCache cache("kernels");
  cache.write("a", bytes(100, 1));
  EXPECT_TRUE(cache.read("a").empty());
}

}  // namespace
}  // namespace wholestep::test
