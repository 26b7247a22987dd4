// Whole files: read with a limit, written so that a crash leaves the old file or the new one, never half of
// either.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wholestep {

using Bytes = std::vector<std::byte>;
using ByteSpan = std::span<const std::byte>;

inline ByteSpan bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string_view text_of(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The file's content. kNoInput where it cannot be opened, kBadData over `limit_bytes` (before allocating),
/// kIo where reading fails.
Bytes read_file(const std::filesystem::path& path, uint64_t limit_bytes);
std::string read_text_file(const std::filesystem::path& path, uint64_t limit_bytes);

/// Replaces `path` with the concatenation of `pieces`: temporary file beside it, fsync, rename, fsync of the
/// folder. The folder must exist. kIo, and the old file stays, where anything fails.
void write_file(const std::filesystem::path& path, std::span<const ByteSpan> pieces);
void write_file(const std::filesystem::path& path, ByteSpan bytes);
void write_file(const std::filesystem::path& path, std::string_view text);

/// Creates the folder and those above it; kIo naming the one that fails.
void make_directories(const std::filesystem::path& folder);

/// Bytes an unprivileged process may still write on the file system that holds `folder` (or the nearest
/// folder above it that exists).
uint64_t free_space_bytes(const std::filesystem::path& folder);
/// kIo saying both figures where fewer than `needed_bytes` are free. Call it before writing something large.
void require_free_space(const std::filesystem::path& folder, uint64_t needed_bytes);

}  // namespace wholestep
