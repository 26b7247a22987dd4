// Plain sources, and the choice between plain and packed by content.
#include "wholestep/io/byte_source.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "wholestep/io/descriptor.h"
#include "wholestep/io/gzip.h"

namespace wholestep {
namespace {

class MemorySource final : public ByteSource {
 public:
  MemorySource(ByteSpan bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}
  size_t read(std::span<std::byte> out) override {
    size_t count = std::min(out.size(), bytes_.size() - position_);
    if (count) std::memcpy(out.data(), bytes_.data() + position_, count);
    position_ += count;
    return count;
  }
  uint64_t remaining_bound() const override { return bytes_.size() - position_; }
  std::string where() const override { return fmt::format("{}: byte {}", name_, position_); }

 private:
  ByteSpan bytes_;
  std::string name_;
  size_t position_ = 0;
};

class FileSource final : public ByteSource {
 public:
  explicit FileSource(const std::filesystem::path& path) : path_(path), file_(open_regular_file(path)) {
    struct stat status {};
    if (::fstat(file_.fd(), &status) != 0)
      throw system_error(ErrorCode::kIo, "cannot examine the file", path, errno);
    size_ = static_cast<uint64_t>(status.st_size);
  }
  size_t read(std::span<std::byte> out) override {
    size_t count = read_some(file_, out, path_);
    position_ += count;
    return count;
  }
  uint64_t remaining_bound() const override { return size_ > position_ ? size_ - position_ : 0; }
  std::string where() const override { return fmt::format("{}: byte {}", path_.string(), position_); }

  /// Whether the file starts with gzip's magic; does not move the position.
  bool is_packed() const {
    std::byte start[2]{};
    return ::pread(file_.fd(), start, 2, 0) == 2 && is_gzip(start);
  }

 private:
  std::filesystem::path path_;
  Descriptor file_;
  uint64_t size_ = 0, position_ = 0;
};

}  // namespace

std::unique_ptr<ByteSource> open_bytes(ByteSpan bytes, std::string name) {
  return std::make_unique<MemorySource>(bytes, std::move(name));
}

std::unique_ptr<ByteSource> open_plain_or_gzip(const std::filesystem::path& path) {
  auto file = std::make_unique<FileSource>(path);
  return file->is_packed() ? open_gunzip(std::move(file)) : std::move(file);
}

std::unique_ptr<ByteSource> open_plain_or_gzip(ByteSpan bytes, std::string name) {
  auto source = open_bytes(bytes, std::move(name));
  return is_gzip(bytes) ? open_gunzip(std::move(source)) : std::move(source);
}

}  // namespace wholestep
