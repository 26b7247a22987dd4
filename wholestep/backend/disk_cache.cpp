#include "wholestep/backend/disk_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>

namespace wholestep {
namespace {

namespace fs = std::filesystem;

fs::path cache_folder() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg) return fs::path(xdg) / "wholestep";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".cache" / "wholestep";
  return {};
}

/// Drops the oldest files until the rest and `more` bytes fit.
void make_room(const fs::path& folder, int64_t more, int64_t most) {
  struct Entry {
    fs::file_time_type time;
    int64_t bytes;
    fs::path path;
  };
  std::vector<Entry> entries;
  int64_t total = more;
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(folder, ignored)) {
    entries.push_back(
        {file.last_write_time(ignored), static_cast<int64_t>(file.file_size(ignored)), file.path()});
    total += entries.back().bytes;
  }
  std::ranges::sort(entries, {}, &Entry::time);
  for (const Entry& entry : entries) {
    if (total <= most) return;
    fs::remove(entry.path, ignored);
    total -= entry.bytes;
  }
}

}  // namespace

DiskCache::DiskCache(std::string_view folder, int64_t most_bytes)
    : folder_(cache_folder()), most_bytes_(most_bytes) {
  if (!folder_.empty()) folder_ /= folder;
}

std::vector<std::byte> DiskCache::read(const std::string& name) const {
  if (folder_.empty()) return {};
  std::ifstream in(folder_ / name, std::ios::binary | std::ios::ate);
  if (!in) return {};
  std::vector<std::byte> bytes(static_cast<size_t>(in.tellg()));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!in) return {};
  std::error_code ignored;
  fs::last_write_time(folder_ / name, fs::file_time_type::clock::now(), ignored);
  return bytes;
}

void DiskCache::write(const std::string& name, std::span<const std::byte> bytes) const {
  if (folder_.empty()) return;
  std::error_code failed;
  fs::create_directories(folder_, failed);
  if (failed) return;
  make_room(folder_, static_cast<int64_t>(bytes.size()), most_bytes_);
  const fs::path path = folder_ / name, aside = folder_ / fmt::format("{}.{}", name, ::getpid());
  {
    std::ofstream out(aside, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out) failed = std::make_error_code(std::errc::io_error);
  }
  if (!failed) fs::rename(aside, path, failed);
  if (failed) fs::remove(aside, failed);
}

}  // namespace wholestep
