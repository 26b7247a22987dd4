// Loops around read, write and fsync that finish the job or throw.
#include "wholestep/io/descriptor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace wholestep {
namespace {

std::string hint_for(int error_number) {
  switch (error_number) {
    case ENOENT: return "check the path";
    case EACCES:
    case EPERM: return "check the permissions of the file and of the folders above it";
    case ENOSPC:
    case EDQUOT: return "free some space, or write to another folder";
    case EROFS: return "the file system is read-only: write to another folder";
    case EMFILE:
    case ENFILE: return "too many open files: raise the limit with ulimit -n";
    default: return "";
  }
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Error system_error(ErrorCode code, const std::string& what, const std::filesystem::path& path,
                   int error_number) {
  return Error(code, {.what = what,
                      .where = path.string(),
                      .got = std::generic_category().message(error_number),
                      .hint = hint_for(error_number)});
}

Descriptor open_regular_file(const std::filesystem::path& path) {
  // O_NONBLOCK only matters for what is refused below: opening a FIFO must not wait for a writer.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) throw system_error(ErrorCode::kNoInput, "cannot open the file", path, errno);
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0)
    throw system_error(ErrorCode::kIo, "cannot examine the file", path, errno);
  if (!S_ISREG(status.st_mode))
    throw Error(ErrorCode::kNoInput,
                {.what = "not a regular file",
                 .where = path.string(),
                 .got = S_ISDIR(status.st_mode) ? "a folder" : "a device, pipe or socket",
                 .expected = "a file"});
  return file;
}

size_t read_some(const Descriptor& file, std::span<std::byte> out, const std::filesystem::path& path) {
  size_t done = 0;
  while (done < out.size()) {
    ssize_t got = ::read(file.fd(), out.data() + done, out.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error(ErrorCode::kIo, "reading failed", path, errno);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

void write_all(const Descriptor& file, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    ssize_t got = ::write(file.fd(), bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error(ErrorCode::kIo, "writing failed", path, errno);
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
}

bool names_same_file(const Descriptor& file, const std::filesystem::path& path) {
  struct stat opened {
  }, named{};
  return ::fstat(file.fd(), &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

void sync(const Descriptor& file, const std::filesystem::path& path) {
  while (::fsync(file.fd()) != 0) {
    if (errno == EINTR) continue;
    if (errno == EINVAL || errno == EROFS) return;  // the file system cannot sync this kind of file
    throw system_error(ErrorCode::kIo, "flushing to the disk failed", path, errno);
  }
}

void sync_directory(const std::filesystem::path& folder) {
  const std::filesystem::path here = folder.empty() ? "." : folder;
  Descriptor directory(::open(here.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) throw system_error(ErrorCode::kIo, "cannot open the folder", here, errno);
  sync(directory, here);
}

}  // namespace wholestep
