// Edit distance with adjacent swaps (optimal string alignment), whatever the case.
#include "wholestep/base/suggest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

namespace wholestep {
namespace {

bool same(char a, char b) {
  return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + !same(a[i - 1], b[j - 1])});
      if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

}  // namespace

std::string nearest_name(std::string_view text, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(1, text.size() / 2);
  for (const std::string& candidate : candidates)
    if (size_t distance = edit_distance(text, candidate);
        distance < best_distance || (distance == best_distance && best.empty()))
      best = candidate, best_distance = distance;
  return best;
}

std::string suggest(std::string_view text, std::span<const std::string> candidates) {
  if (std::string near = nearest_name(text, candidates); !near.empty())
    return fmt::format("did you mean '{}'?", near);
  return fmt::format("known: {}", fmt::join(candidates, ", "));
}

}  // namespace wholestep
