// The networks of the zoo that every kind of test can afford: of pictures, and quick. The others, made of the
// same layers, have tests of their own in nn/zoo_test.cpp.
#pragma once
#include <algorithm>
#include <array>
#include <string_view>

namespace wholestep::test {

inline bool is_small(std::string_view model) {
  constexpr std::array<std::string_view, 7> kSmall = {"mlp", "lenet", "simple-cnn", "w1", "w2", "w3", "w4s"};
  return std::ranges::find(kSmall, model) != kSmall.end();
}

}  // namespace wholestep::test
