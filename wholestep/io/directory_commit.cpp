// The commit protocol. Names beside the target "last": ".last.tmp-PID-N" is being written, ".last.old-..." is
// the one being replaced where the file system cannot exchange two names at once.
#include "wholestep/io/directory_commit.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "wholestep/base/log.h"

namespace wholestep {
namespace fs = std::filesystem;
namespace {

fs::path folder_of(const fs::path& target) {
  return target.has_parent_path() ? target.parent_path() : fs::path(".");
}

std::string prefix_of(const fs::path& target, const char* kind) {
  return fmt::format(".{}.{}-", target.filename().string(), kind);
}

std::vector<fs::path> beside(const fs::path& target, const char* kind) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (fs::directory_iterator it(folder_of(target), failed), end; !failed && it != end; it.increment(failed))
    if (it->path().filename().string().starts_with(prefix_of(target, kind))) found.push_back(it->path());
  return found;
}

// A lock on the folder itself dies with its writer, so it is not fooled by a process id that is used again.
bool lock_folder(const fs::path& folder, Descriptor& lock) {
  lock = Descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return lock && ::flock(lock.fd(), LOCK_EX | LOCK_NB) == 0;
}

void remove_folder(const fs::path& folder) {
  std::error_code failed;
  fs::remove_all(folder, failed);
  if (failed)
    log(LogLevel::kWarning, fmt::format("could not remove {}: {}", folder.string(), failed.message()));
}

void sync_tree(const fs::path& folder) {
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed)) {
    if (it->is_directory() && !it->is_symlink()) {
      sync_tree(it->path());
    } else if (it->is_regular_file()) {
      Descriptor file(::open(it->path().c_str(), O_RDONLY | O_CLOEXEC));
      if (!file) throw system_error(ErrorCode::kIo, "cannot open the written file", it->path(), errno);
      sync(file, it->path());
    }
  }
  if (failed) throw system_error(ErrorCode::kIo, "cannot list the folder", folder, failed.value());
  sync_directory(folder);
}

void rename_folder(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    throw system_error(ErrorCode::kIo, "cannot put the folder in place", to, errno);
}

}  // namespace

void recover_directory(const fs::path& target) {
  std::error_code ignored;
  for (const fs::path& old : beside(target, "old")) {
    if (fs::exists(target, ignored)) remove_folder(old);
    else rename_folder(old, target);  // the writer died between the two renames of the fallback
  }
  for (const fs::path& aside : beside(target, "tmp")) {
    Descriptor lock;
    if (lock_folder(aside, lock)) remove_folder(aside);
  }
}

DirectoryCommit::DirectoryCommit(fs::path target) : target_(std::move(target)) {
  static std::atomic<unsigned> counter = 0;
  std::error_code ignored;
  if (fs::exists(target_, ignored) && !fs::is_directory(target_, ignored))
    throw Error(ErrorCode::kIo, {.what = "a file is in the way of a folder", .where = target_.string()});
  recover_directory(target_);
  // Another process may take the new folder for litter in the moment before it is locked: then make the next.
  for (int attempt = 0; attempt < 100; ++attempt) {
    aside_ = folder_of(target_) / fmt::format("{}{}-{}", prefix_of(target_, "tmp"), ::getpid(), counter++);
    if (::mkdir(aside_.c_str(), 0777) != 0) {
      if (errno == EEXIST) continue;
      throw system_error(ErrorCode::kIo, "cannot create the folder", aside_, errno);
    }
    if (lock_folder(aside_, lock_) && fs::exists(aside_, ignored)) return;
  }
  throw Error(ErrorCode::kIo, {.what = "cannot create a folder to write aside", .where = target_.string()});
}

DirectoryCommit::~DirectoryCommit() {
  if (!aside_.empty()) remove_folder(aside_);
}

void DirectoryCommit::commit() {
  WHOLESTEP_CHECK(!aside_.empty());
  sync_tree(aside_);
  const fs::path folder = folder_of(target_);
  std::error_code ignored;
  if (!fs::exists(target_, ignored)) {
    rename_folder(aside_, target_);
    aside_.clear();
  } else if (::renameat2(AT_FDCWD, aside_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) != 0) {
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
      throw system_error(ErrorCode::kIo, "cannot put the folder in place", target_, errno);
    fs::path old = folder / fmt::format("{}{}", prefix_of(target_, "old"), ::getpid());
    rename_folder(target_, old);
    rename_folder(aside_, target_);
    aside_ = old;
  }
  sync_directory(folder);
  if (!aside_.empty()) remove_folder(aside_);  // now the old one
  aside_.clear();
}

}  // namespace wholestep
