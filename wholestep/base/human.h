// Numbers as people read and write them: bytes, counts, lengths of time.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace wholestep {

std::string human_bytes(int64_t bytes);      ///< "912 B", "1.5 KiB", "43.1 MiB"
std::string human_count(int64_t count);      ///< "61,706"
std::string human_seconds(double seconds);   ///< "0.042 s", "8.3 s", "2 min 05 s", "1 h 02 min"
std::string human_rate(double per_second);   ///< "12,345", "97.3", "0.52"; "n/a" where it is not finite
std::string human_percent(double fraction);  ///< 0.98765 is "98.77 %"

/// "1048576", "1MiB", "1.5 GiB", "64KB" (KB, MB, GB are powers of 1000). kUsage where it is none of these.
int64_t parse_bytes(std::string_view text);

}  // namespace wholestep
