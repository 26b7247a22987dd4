// Version folders by number, checkpoints by name.
#include "wholestep/train/run_folder.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <string_view>
#include <vector>

#include "wholestep/io/descriptor.h"
#include "wholestep/io/directory_commit.h"
#include "wholestep/io/files.h"
#include "wholestep/train/checkpoint.h"

namespace wholestep {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPrefix = "version_";

// N of "version_N", -1 for any other name.
int64_t version_number(const std::string& name) {
  if (!name.starts_with(kPrefix)) return -1;
  int64_t number = -1;
  const char* end = name.data() + name.size();
  auto [stop, failed] = std::from_chars(name.data() + kPrefix.size(), end, number);
  return failed == std::errc() && stop == end ? number : -1;
}

int64_t highest_version(const fs::path& base) {
  int64_t highest = -1;
  std::error_code failed;
  for (fs::directory_iterator it(base, failed), end; !failed && it != end; it.increment(failed))
    if (it->is_directory()) highest = std::max(highest, version_number(it->path().filename().string()));
  return highest;
}

fs::path version_path(const fs::path& base, int64_t number) {
  return base / fmt::format("{}{}", kPrefix, number);
}

bool is_checkpoint(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "manifest.json", ignored);
}

}  // namespace

RunFolder::RunFolder(fs::path path) : path_(std::move(path)), lock_(std::make_unique<FolderLock>(path_)) {}

RunFolder RunFolder::create(const fs::path& base) {
  make_directories(base);
  for (int64_t number = highest_version(base) + 1;; ++number) {
    fs::path version = version_path(base, number);
    if (::mkdir(version.c_str(), 0777) == 0) return RunFolder(std::move(version));
    if (errno != EEXIST) throw system_error(ErrorCode::kIo, "cannot create the run folder", version, errno);
  }
}

RunFolder RunFolder::open(const fs::path& version) { return RunFolder(version); }

void RunFolder::discard() {
  std::error_code ignored;
  if (fs::exists(path_ / "checkpoints", ignored)) return;
  fs::remove_all(path_, ignored);
}

std::optional<fs::path> newest_version(const fs::path& base) {
  int64_t highest = highest_version(base);
  if (highest < 0) return std::nullopt;
  return version_path(base, highest);
}

std::optional<FoundCheckpoint> find_checkpoint(const fs::path& place, Prefer prefer) {
  if (!fs::is_directory(place))
    throw Error(ErrorCode::kNoInput,
                {.what = "there is no such checkpoint or run folder", .where = place.string()});
  std::vector<fs::path> candidates;
  if (is_checkpoint(place)) {
    candidates = {place};
  } else {
    fs::path version = newest_version(place).value_or(place);
    candidates = {version / "checkpoints" / "last", version / "checkpoints" / "best"};
    if (prefer == Prefer::kBest) std::swap(candidates[0], candidates[1]);
  }
  std::optional<Error> damage;
  for (const fs::path& candidate : candidates) {
    if (fs::is_directory(candidate.parent_path())) recover_directory(candidate);
    if (!fs::is_directory(candidate)) continue;
    try {
      verify_checkpoint(candidate);
      return FoundCheckpoint{candidate, damage ? damage->what() : ""};
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kBadData && error.code() != ErrorCode::kNoInput) throw;
      if (!damage) damage = error;
    }
  }
  if (damage) throw *damage;
  return std::nullopt;
}

FoundCheckpoint require_checkpoint(const fs::path& place, Prefer prefer) {
  if (std::optional<FoundCheckpoint> found = find_checkpoint(place, prefer)) return *found;
  throw Error(ErrorCode::kNoInput, {.what = "there is no checkpoint in this folder",
                                    .where = place.string(),
                                    .hint = "a run writes its first one at the end of the first epoch"});
}

}  // namespace wholestep
