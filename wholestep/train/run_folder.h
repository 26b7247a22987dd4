// Where a training run keeps what it writes:
//   BASE/version_0/   config.toml  metrics.csv  report.html  checkpoints/last/  checkpoints/best/
// A new run makes the next version; the process that writes into one holds its lock.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "wholestep/io/folder_lock.h"

namespace wholestep {

class RunFolder {
 public:
  /// Makes and locks BASE/version_N, N one above the highest there is. kIo where that cannot be done.
  static RunFolder create(const std::filesystem::path& base);
  /// Locks a version that exists. kIo naming the process that uses it.
  static RunFolder open(const std::filesystem::path& version);

  /// Removes the folder again, for a run that could not begin; one that holds checkpoints stays.
  void discard();

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.toml"; }
  std::filesystem::path metrics() const { return path_ / "metrics.csv"; }
  std::filesystem::path report() const { return path_ / "report.html"; }

 private:
  explicit RunFolder(std::filesystem::path path);
  std::filesystem::path path_;
  std::unique_ptr<FolderLock> lock_;
};

/// BASE/version_N with the highest N; null where there is none.
std::optional<std::filesystem::path> newest_version(const std::filesystem::path& base);

/// A checkpoint that can be read, and why a preferred one could not.
struct FoundCheckpoint {
  std::filesystem::path path;
  std::string damage;  ///< of the one passed over, "" where there was none
  friend bool operator==(const FoundCheckpoint&, const FoundCheckpoint&) = default;
};

enum class Prefer { kLast, kBest };
/// `place` is a checkpoint, a version folder or the folder of versions (then its newest). Of `last` and
/// `best` the preferred one is taken where its files are whole, else the other. Null where there are no
/// checkpoints; kBadData naming what is wrong where all there are are damaged; kNoInput where `place` does
/// not exist.
std::optional<FoundCheckpoint> find_checkpoint(const std::filesystem::path& place, Prefer prefer);

/// The same, and kNoInput where there is none.
FoundCheckpoint require_checkpoint(const std::filesystem::path& place, Prefer prefer);

}  // namespace wholestep
