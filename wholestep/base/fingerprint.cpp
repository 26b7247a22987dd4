#include "wholestep/base/fingerprint.h"

#include <fmt/format.h>

#include "wholestep/base/philox.h"

namespace wholestep {

std::string fingerprint(std::span<const std::string_view> texts) {
  // FNV-1a with two primes, mixed after every text with its length, so that moved borders count.
  uint64_t a = 0xcbf29ce484222325ull, b = 0x84222325cbf29ce4ull;
  for (std::string_view text : texts) {
    for (char c : text) {
      a = (a ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
      b = (b ^ static_cast<unsigned char>(c)) * 0x10000000233ull;
    }
    a = mix(a, text.size());
    b = mix(b, text.size());
  }
  return fmt::format("{:016x}{:016x}", mix(a, 1), mix(b, 2));
}

}  // namespace wholestep
