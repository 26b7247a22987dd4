// Reading with a limit and the write-aside-then-rename protocol.
#include "wholestep/io/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "wholestep/io/checked_size.h"
#include "wholestep/io/descriptor.h"

namespace wholestep {
namespace {

uint64_t size_within(const Descriptor& file, const std::filesystem::path& path, uint64_t limit_bytes) {
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0)
    throw system_error(ErrorCode::kIo, "cannot examine the file", path, errno);
  uint64_t size = static_cast<uint64_t>(status.st_size);
  if (size > limit_bytes)
    throw Error(ErrorCode::kBadData, {.what = "the file is too large",
                                      .where = path.string(),
                                      .got = fmt::format("{} bytes", size),
                                      .expected = fmt::format("at most {} bytes", limit_bytes)});
  return size;
}

template <class Container>
Container read_whole(const std::filesystem::path& path, uint64_t limit_bytes) {
  Descriptor file = open_regular_file(path);
  Container content;
  content.resize(size_within(file, path, limit_bytes));
  size_t got = read_some(file, std::as_writable_bytes(std::span(content)), path);
  if (got != content.size())
    throw Error(ErrorCode::kIo, {.what = "the file shrank while it was read",
                                 .where = path.string(),
                                 .got = fmt::format("{} bytes", got),
                                 .expected = fmt::format("{} bytes", content.size())});
  return content;
}

// The temporary file of one name, held under a lock while it is written, so that two writers take turns and
// what a killed writer left is used by the next one instead of piling up.
class Aside {
 public:
  explicit Aside(const std::filesystem::path& target)
      : path_(target.parent_path() / fmt::format(".{}.tmp", target.filename().string())) {
    do {
      file_ = Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
      if (!file_) throw system_error(ErrorCode::kIo, "cannot create the file", target, errno);
      while (::flock(file_.fd(), LOCK_EX) != 0)
        if (errno != EINTR) throw system_error(ErrorCode::kIo, "cannot lock the file", path_, errno);
    } while (!names_same_file(file_, path_));
    if (::ftruncate(file_.fd(), 0) != 0)
      throw system_error(ErrorCode::kIo, "cannot empty the file", path_, errno);
  }
  ~Aside() {
    if (!renamed_) ::unlink(path_.c_str());
  }
  const Descriptor& file() const { return file_; }
  void rename_to(const std::filesystem::path& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0)
      throw system_error(ErrorCode::kIo, "cannot put the written file in place", target, errno);
    renamed_ = true;
  }

 private:
  std::filesystem::path path_;
  Descriptor file_;
  bool renamed_ = false;
};

}  // namespace

Bytes read_file(const std::filesystem::path& path, uint64_t limit_bytes) {
  return read_whole<Bytes>(path, limit_bytes);
}

std::string read_text_file(const std::filesystem::path& path, uint64_t limit_bytes) {
  return read_whole<std::string>(path, limit_bytes);
}

void write_file(const std::filesystem::path& path, std::span<const ByteSpan> pieces) {
  Aside aside(path);
  for (ByteSpan piece : pieces) write_all(aside.file(), piece, path);
  sync(aside.file(), path);
  aside.rename_to(path);
  sync_directory(path.parent_path());
}

void write_file(const std::filesystem::path& path, ByteSpan bytes) { write_file(path, std::span(&bytes, 1)); }
void write_file(const std::filesystem::path& path, std::string_view text) {
  write_file(path, bytes_of(text));
}

void make_directories(const std::filesystem::path& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw system_error(ErrorCode::kIo, "cannot create the folder", folder, failed.value());
}

uint64_t free_space_bytes(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::filesystem::path here = std::filesystem::absolute(folder);
  while (!std::filesystem::exists(here, ignored) && here.has_relative_path()) here = here.parent_path();
  struct statvfs status {};
  if (::statvfs(here.c_str(), &status) != 0)
    throw system_error(ErrorCode::kIo, "cannot ask for the free space", here, errno);
  CheckedSize free = CheckedSize(status.f_bavail) * status.f_frsize;
  return free.ok() ? free.value() : UINT64_MAX;
}

void require_free_space(const std::filesystem::path& folder, uint64_t needed_bytes) {
  uint64_t free = free_space_bytes(folder);
  if (free < needed_bytes)
    throw Error(ErrorCode::kIo, {.what = "not enough free space",
                                 .where = folder.string(),
                                 .got = fmt::format("{} bytes free", free),
                                 .expected = fmt::format("{} bytes", needed_bytes),
                                 .hint = "free some space, or write to another folder"});
}

}  // namespace wholestep
