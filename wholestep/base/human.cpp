// Formatting with three significant figures or so, and the one parser of sizes.
#include "wholestep/base/human.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

struct Unit {
  std::string_view name;
  double bytes;
};
constexpr std::array<Unit, 8> kUnits = {{{"B", 1},
                                         {"KiB", 1024},
                                         {"MiB", 1048576},
                                         {"GiB", 1073741824},
                                         {"TiB", 1099511627776},
                                         {"KB", 1e3},
                                         {"MB", 1e6},
                                         {"GB", 1e9}}};
constexpr size_t kBinaryUnits = 5;

}  // namespace

std::string human_bytes(int64_t bytes) {
  double size = static_cast<double>(bytes);
  size_t unit = 0;
  while (unit + 1 < kBinaryUnits && std::abs(size) >= 1024 * kUnits[unit].bytes) ++unit;
  if (unit == 0) return fmt::format("{} B", bytes);
  double shown = size / kUnits[unit].bytes;
  return fmt::format("{:.{}f} {}", shown, std::abs(shown) < 99.95 ? 1 : 0, kUnits[unit].name);
}

std::string human_count(int64_t count) {
  std::string digits = std::to_string(count);
  size_t first = count < 0 ? 2 : 1;
  for (size_t at = digits.size(); at > first + 2; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds)) return "n/a";
  if (seconds < 1) return fmt::format("{:.3f} s", seconds);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string human_rate(double per_second) {
  if (!std::isfinite(per_second)) return "n/a";
  if (per_second >= 1000) return human_count(std::llround(per_second));
  return fmt::format("{:.{}f}", per_second, per_second >= 10 ? 1 : 2);
}

std::string human_percent(double fraction) { return fmt::format("{:.2f} %", 100 * fraction); }

int64_t parse_bytes(std::string_view text) {
  auto unreadable = [&] {
    return Error(ErrorCode::kUsage, {.what = "cannot read the size",
                                     .got = fmt::format("'{}'", text),
                                     .expected = "bytes as a number, or with KiB, MiB, GiB (KB, MB, GB)"});
  };
  double number = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || !(number >= 0)) throw unreadable();
  std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  while (suffix.starts_with(' ')) suffix.remove_prefix(1);
  for (const Unit& unit : kUnits)
    if (suffix == unit.name || (suffix.empty() && unit.bytes == 1)) {
      double bytes = number * unit.bytes;
      if (bytes >= 0x1p62) throw unreadable();
      return std::llround(bytes);
    }
  throw unreadable();
}

}  // namespace wholestep
