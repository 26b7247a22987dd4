// "Did you mean": the nearest of a list of names.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wholestep {

/// The candidate with the smallest edit distance to `text`, or "" where none is near enough to be a likely
/// slip.
std::string nearest_name(std::string_view text, std::span<const std::string> candidates);

/// "did you mean 'x'?" where a name is near, else "known: a, b, c".
std::string suggest(std::string_view text, std::span<const std::string> candidates);

}  // namespace wholestep
