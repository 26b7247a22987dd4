// The built `wholestep` command as a person runs it: arguments in, exit status and both outputs out.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace wholestep::test {

struct CliResult {
  int status = -1;       ///< exit status; 128 + signal where a signal ended it
  std::string out, err;  ///< standard output and standard error
  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

/// A run in the background, in a folder of its own.
class CliProcess {
 public:
  /// `arguments` as a shell reads them.
  CliProcess(const std::filesystem::path& folder, const std::string& arguments,
             const std::string& environment = "");
  ~CliProcess();  ///< kills what still runs
  CliProcess(const CliProcess&) = delete;
  CliProcess& operator=(const CliProcess&) = delete;

  void signal(int number) const;
  /// Waits until standard error holds `text` `times` times; false when the process ends before.
  bool wait_for(const std::string& text, int times = 1);
  CliResult wait();

 private:
  bool ended();
  std::filesystem::path out_, err_;
  pid_t pid_ = -1;
  int status_ = -1;
};

/// Runs to the end with standard error a file. No run sees a GPU.
CliResult run_cli(const std::filesystem::path& folder, const std::string& arguments);
/// The same on the GPU of this machine.
CliResult run_cli_on_gpu(const std::filesystem::path& folder, const std::string& arguments);
/// The same with standard error a terminal of `columns` columns; `environment` as in "NO_COLOR=1".
CliResult run_cli_on_terminal(const std::filesystem::path& folder, const std::string& arguments, int columns,
                              const std::string& environment = "");

}  // namespace wholestep::test
