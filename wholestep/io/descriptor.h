// A file descriptor that closes itself, and the one place where errno becomes an Error.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include "wholestep/base/error.h"

namespace wholestep {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();
  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// "what (path): got <errno as text>", with a hint where the errno has a usual cause.
Error system_error(ErrorCode code, const std::string& what, const std::filesystem::path& path,
                   int error_number);

/// Opens for reading a regular file only: a folder, FIFO or device is refused, never waited for. kNoInput.
Descriptor open_regular_file(const std::filesystem::path& path);

/// Fills `out` from the descriptor's position, over short reads and signals; the count is smaller than
/// out.size() only at the end of the file. kIo.
size_t read_some(const Descriptor& file, std::span<std::byte> out, const std::filesystem::path& path);

/// Writes all of `bytes`, over short writes and signals. kIo.
void write_all(const Descriptor& file, std::span<const std::byte> bytes, const std::filesystem::path& path);

/// Whether `path` still names the open file: false where it was renamed or unlinked since.
bool names_same_file(const Descriptor& file, const std::filesystem::path& path);

/// fsync of an open descriptor or of a folder by name. kIo.
void sync(const Descriptor& file, const std::filesystem::path& path);
void sync_directory(const std::filesystem::path& folder);

}  // namespace wholestep
