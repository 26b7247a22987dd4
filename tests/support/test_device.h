// The device on which comparisons with stored references compute: the host, or what the environment variable
// WHOLESTEP_TEST_DEVICE names: with "cuda" the same tests, in the same programs, judge a GPU, and with
// "foreign" the host, whose memory they may not touch.
#pragma once
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "wholestep/graph/tensor.h"

namespace wholestep::test {

/// Exact f32 products there, no TF32.
Backend& test_device();
std::string no_test_device();  ///< why it cannot be used; "" where it can
inline Tensor on_test_device(const Tensor& t) { return t.to(test_device()); }

/// A file of tests/reference, from the folder that WHOLESTEP_REFERENCES names, if set.
nlohmann::json read_reference(const std::string& file);

/// Of a list of cases those that fall to this process: all, or with WHOLESTEP_TEST_PART="3/16" every 16th
/// from number 3 on, so that a list can be shared out as tests are.
bool is_of_part(size_t number);
template <class Cases>
std::vector<typename Cases::value_type> of_part(const Cases& cases) {
  std::vector<typename Cases::value_type> own;
  for (size_t number = 0; const auto& c : cases)
    if (is_of_part(number++)) own.push_back(c);
  return own;
}
bool is_whole();  ///< no part of a list falls to another process

}  // namespace wholestep::test

#define WHOLESTEP_NEEDS_TEST_DEVICE()                                    \
  if (std::string why = wholestep::test::no_test_device(); !why.empty()) \
  GTEST_SKIP() << "needs a GPU: " << why
