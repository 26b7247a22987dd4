// Escape sequences, and where they are wanted.
#include "wholestep/cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "wholestep/base/log.h"

namespace wholestep::cli {
namespace {

std::mutex mutex;         // the library logs from several threads
std::string status_text;  // what stands on the status line now

void write_line(std::string_view text) {
  std::lock_guard lock(mutex);
  if (!status_text.empty()) fmt::print(stderr, "\r\x1b[K");
  fmt::print(stderr, "{}\n", text);
  if (!status_text.empty()) fmt::print(stderr, "{}", status_text);
  std::fflush(stderr);
}

bool set_in_environment(const char* name) {
  const char* value = std::getenv(name);
  return value && *value;
}

}  // namespace

void print_error(std::string_view message) {
  write_line(fmt::format("{} {}", styled(Style::kRed, "wholestep:"), message));
}

void print_note(std::string_view message) { write_line(message); }

void log_to_terminal(bool verbose) {
  set_log_callback([verbose](LogLevel level, std::string_view message) {
    if (level == LogLevel::kWarning) write_line(fmt::format("wholestep: warning: {}", message));
    else if (verbose) write_line(styled(Style::kQuiet, message));
  });
}

bool stderr_is_terminal() {
  static const bool is = ::isatty(STDERR_FILENO) == 1 &&
                         std::string_view(std::getenv("TERM") ? std::getenv("TERM") : "dumb") != "dumb";
  return is;
}

int terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string styled(Style style, std::string_view text) {
  static const bool colour = stderr_is_terminal() && !set_in_environment("NO_COLOR");
  if (!colour || style == Style::kPlain) return std::string(text);
  const char* code = style == Style::kBold ? "1" : style == Style::kQuiet ? "2" : "31";
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

void StatusLine::show(std::string_view text) {
  if (!stderr_is_terminal()) return;
  std::lock_guard lock(mutex);
  status_text = text;
  fmt::print(stderr, "\r{}\x1b[K", text);
  std::fflush(stderr);
}

void StatusLine::clear() {
  std::lock_guard lock(mutex);
  if (status_text.empty()) return;
  status_text.clear();
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

}  // namespace wholestep::cli
