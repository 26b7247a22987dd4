// flock on a file that holds its owner's process id.
#include "wholestep/io/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "wholestep/base/log.h"

namespace wholestep {
namespace {

std::string holder(const Descriptor& file) {
  std::array<char, 32> text{};
  ssize_t got = ::pread(file.fd(), text.data(), text.size(), 0);
  std::string pid(text.data(), got > 0 ? static_cast<size_t>(got) : 0);
  return pid.substr(0, pid.find('\n'));
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) : path_(folder / ".lock") {
  while (true) {
    file_ = Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (!file_) throw system_error(ErrorCode::kIo, "cannot lock the folder", path_, errno);
    if (::flock(file_.fd(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) throw system_error(ErrorCode::kIo, "cannot lock the folder", path_, errno);
      throw Error(ErrorCode::kIo, {.what = "the folder is in use by another process",
                                   .where = folder.string(),
                                   .got = fmt::format("process {}", holder(file_)),
                                   .hint = "wait for it or stop it, or write to another folder"});
    }
    if (names_same_file(file_, path_)) break;  // else the previous holder unlinked it meanwhile
  }
  if (std::string dead = holder(file_); !dead.empty())
    log(LogLevel::kInfo, fmt::format("{}: taking over from process {}, which died", folder.string(), dead));
  std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(file_.fd(), 0) != 0)
    throw system_error(ErrorCode::kIo, "cannot lock the folder", path_, errno);
  write_all(file_, std::as_bytes(std::span(pid)), path_);
}

FolderLock::~FolderLock() { ::unlink(path_.c_str()); }  // while still locked, so no newer lock is unlinked

}  // namespace wholestep
