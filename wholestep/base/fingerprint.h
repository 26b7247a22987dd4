// A name for a text: 128 bits that two texts share by accident only. Not for secrets.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace wholestep {

std::string fingerprint(std::span<const std::string_view> texts);  ///< 32 hexadecimal digits
inline std::string fingerprint(std::string_view text) { return fingerprint(std::span(&text, 1)); }

}  // namespace wholestep
