#include "support/command.h"

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <stdexcept>

namespace wholestep::test {

CommandResult run_command(const std::string& command) {
  FILE* pipe = ::popen(("export CUDA_VISIBLE_DEVICES=; " + command + " 2>&1").c_str(), "r");
  if (!pipe) throw std::runtime_error("popen failed: " + command);
  CommandResult result;
  std::array<char, 4096> piece;
  while (size_t got = std::fread(piece.data(), 1, piece.size(), pipe))
    result.output.append(piece.data(), got);
  int status = ::pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

}  // namespace wholestep::test
