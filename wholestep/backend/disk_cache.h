// Files that are worth keeping between processes and can be made again: $XDG_CACHE_HOME/wholestep/FOLDER, or
// the same in ~/.cache, at most 256 MiB of those used last. A cache that cannot be written is only slower.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wholestep {

class DiskCache {
 public:
  explicit DiskCache(std::string_view folder, int64_t most_bytes = int64_t{256} << 20);
  /// Empty where there is no such file. The caller checks that it is whole.
  std::vector<std::byte> read(const std::string& name) const;
  /// Written aside and renamed, after the files that were not used for longest have made room.
  void write(const std::string& name, std::span<const std::byte> bytes) const;

 private:
  std::filesystem::path folder_;  ///< empty: there is none
  int64_t most_bytes_;
};

}  // namespace wholestep
