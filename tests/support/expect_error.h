// Expecting a wholestep::Error: its code, and pieces its message must contain.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "wholestep/base/error.h"

namespace wholestep::test {

/// Runs `action` and expects an Error with `code` whose message contains every one of `pieces`.
template <class Action>
void expect_error(ErrorCode code, std::initializer_list<std::string> pieces, Action&& action) {
  try {
    action();
    ADD_FAILURE() << "no error was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    for (const std::string& piece : pieces) EXPECT_THAT(std::string(error.what()), testing::HasSubstr(piece));
  }
}

}  // namespace wholestep::test
