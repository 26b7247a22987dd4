// Running another program as an independent reference.
#pragma once
#include <string>

namespace wholestep::test {

struct CommandResult {
  int status = -1;     ///< exit status, or -1 where it ended otherwise
  std::string output;  ///< standard output and standard error
};

/// Runs a shell command line and waits for it.
CommandResult run_command(const std::string& command);

}  // namespace wholestep::test
