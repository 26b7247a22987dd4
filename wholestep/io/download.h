// A file from the web: resumed where an earlier attempt stopped, limited in size, checked by SHA-256, and put
// in place only when it is right.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace wholestep {

struct DownloadRequest {
  std::string url;             ///< http or https
  std::filesystem::path path;  ///< where the file goes; the part that has come is kept in "path.part"
  std::string sha256;          ///< 64 hexadecimal digits; empty: not checked
  uint64_t max_bytes = uint64_t{1} << 30;
  int connect_timeout_s = 15;
  int stall_timeout_s = 30;  ///< give up after this long without a byte
  /// Called several times a second: bytes so far, bytes in all (0 where unknown). False stops the download.
  std::function<bool(uint64_t done_bytes, uint64_t total_bytes)> progress;
};

/// Fetches the file. kNoInput naming the address for everything the network can do wrong, kBadData for a file
/// over the limit or with another SHA-256 (its part is removed), kInterrupted where progress() said stop,
/// kIo.
void download(const DownloadRequest& request);

}  // namespace wholestep
