// Numbers that the tests and the PyTorch references both compute: tests/reference/formula.py is the other
// side.
#pragma once
#include <cstdint>
#include <vector>

namespace wholestep::test {

/// `count` numbers in [-1, 1) on a grid of 2^-23; `stream` tells tensors apart.
template <class T = float>
std::vector<T> formula_values(uint32_t stream, int64_t count) {
  std::vector<T> values;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = stream * 0x9E3779B1u + static_cast<uint32_t>(i) * 0x85EBCA77u + 0x165667B1u;
    x = (x ^ (x >> 16)) * 0x21F0AAADu;
    x = (x ^ (x >> 16)) * 0x735A2D97u;
    x ^= x >> 15;
    values.push_back(static_cast<T>(static_cast<double>(x >> 8) * 0x1p-23 - 1));
  }
  return values;
}

/// `count` integers in [0, classes).
inline std::vector<int64_t> formula_labels(uint32_t stream, int64_t count, int64_t classes) {
  std::vector<int64_t> labels;
  for (double v : formula_values<double>(stream, count))
    labels.push_back(static_cast<int64_t>((v + 1) / 2 * static_cast<double>(classes)));
  return labels;
}

}  // namespace wholestep::test
