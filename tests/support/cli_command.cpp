// fork and exec of a shell, with files or a pseudo-terminal as its outputs.
#include "support/cli_command.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "support/temp_dir.h"

namespace wholestep::test {
namespace {

namespace fs = std::filesystem;

int open_output(const fs::path& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

/// The command lies one folder above the tests, in a build and wherever both were copied to.
fs::path program() { return fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "wholestep"; }

std::string command_line(const std::string& arguments, const std::string& environment = "") {
  // No GPU is seen: what is tested does not depend on the machine.
  return "CUDA_VISIBLE_DEVICES= " + environment + " exec '" + program().string() + "' " + arguments;
}

// In the child: does not return.
[[noreturn]] void become(const fs::path& folder, const std::string& command, int out, int err) {
  int in = ::open("/dev/null", O_RDONLY);
  if (::chdir(folder.c_str()) == 0 && ::dup2(in, 0) >= 0 && ::dup2(out, 1) >= 0 && ::dup2(err, 2) >= 0)
    ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
  ::_exit(127);
}

int decoded(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

fs::path fresh_file(const fs::path& folder, const char* kind) {
  static std::atomic<int> counter{0};
  return folder / ("." + std::to_string(counter++) + "." + kind);
}

}  // namespace

CliProcess::CliProcess(const fs::path& folder, const std::string& arguments, const std::string& environment)
    : out_(fresh_file(folder, "out")), err_(fresh_file(folder, "err")) {
  std::string command = command_line(arguments, environment);
  int out = open_output(out_), err = open_output(err_);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) become(folder, command, out, err);
  ::close(out);
  ::close(err);
}

CliProcess::~CliProcess() {
  if (ended()) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, &status_, 0);
}

bool CliProcess::ended() {
  if (pid_ < 0) return true;
  if (::waitpid(pid_, &status_, WNOHANG) != pid_) return false;
  pid_ = -1;
  return true;
}

void CliProcess::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

bool CliProcess::wait_for(const std::string& text, int times) {
  while (true) {
    bool over = ended();
    std::string err = read_file(err_);
    int found = 0;
    for (size_t at = err.find(text); at != std::string::npos; at = err.find(text, at + 1)) ++found;
    if (found >= times) return true;
    if (over) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

CliResult CliProcess::wait() {
  if (pid_ > 0) ::waitpid(pid_, &status_, 0);
  pid_ = -1;
  return {decoded(status_), read_file(out_), read_file(err_)};
}

CliResult run_cli(const fs::path& folder, const std::string& arguments) {
  return CliProcess(folder, arguments).wait();
}

CliResult run_cli_on_gpu(const fs::path& folder, const std::string& arguments) {
  return CliProcess(folder, arguments, "CUDA_VISIBLE_DEVICES=0").wait();
}

CliResult run_cli_on_terminal(const fs::path& folder, const std::string& arguments, int columns,
                              const std::string& environment) {
  fs::path out_path = fresh_file(folder, "out");
  std::string command = command_line(arguments, "TERM=xterm " + environment);
  int out = open_output(out_path);
  winsize size{.ws_row = 24, .ws_col = static_cast<unsigned short>(columns), .ws_xpixel = 0, .ws_ypixel = 0};
  int master = -1, terminal = -1;
  if (::openpty(&master, &terminal, nullptr, nullptr, &size) != 0) throw std::runtime_error("openpty failed");
  pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid == 0) become(folder, command, out, terminal);
  ::close(out);
  ::close(terminal);
  CliResult result;
  char piece[4096];
  ssize_t got;
  while ((got = ::read(master, piece, sizeof piece)) > 0) result.err.append(piece, static_cast<size_t>(got));
  ::close(master);
  int status = 0;
  ::waitpid(pid, &status, 0);
  result.status = decoded(status);
  result.out = read_file(out_path);
  return result;
}

}  // namespace wholestep::test
